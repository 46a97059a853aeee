/* SPDX-License-Identifier: Apache-2.0
 *
 * See door.h.
 */
#include "tests/cuda_emulation/emulator.h" /* first: its system headers */

#include "tests/cuda_emulation/door.h"

namespace
{
int architecture(void)
{
    const enso_emulated::profile &card = enso_emulated::device_profile();

    return card.major * 10 + card.minor;
}
} // namespace

extern "C" __attribute__((visibility("default"))) const struct enso_emulated_door *
enso_emulated_door(void);

extern "C" const struct enso_emulated_door *enso_emulated_door(void)
{
    static const struct enso_emulated_door door = {enso_emulated::launch,
                                                   enso_emulated::name_next_launch,
                                                   enso_emulated::failure_now,
                                                   enso_emulated::memory_on_device,
                                                   architecture,
                                                   enso_emulated::report_launch};

    return &door;
}
