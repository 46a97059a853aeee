/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzzes the reader of Server-Timing headers.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/server_timing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct enso_server_timing timings[8];
    size_t n = enso_server_timing_parse((const char *)data, size, timings, 8);

    if (n > 8)
        abort();
    for (size_t i = 0; i < n; i++) {
        size_t length = strnlen(timings[i].name, sizeof timings[i].name);

        if (length == 0 || length == sizeof timings[i].name || !isfinite(timings[i].ms) ||
            timings[i].ms < 0)
            abort();
    }
    return 0;
}
