/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: any bytes as the file of timed algorithms. What is accepted must find itself again.
 */
#include <stdint.h>
#include <stdlib.h>

#include "kernels/cuda/algorithms.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct enso__algorithms a;

    if (enso__algorithms_parse((const char *)data, size, "a card", &a, NULL) != ENSO_OK) {
        if (a.entries != NULL || a.n != 0)
            abort();
        return 0;
    }
    for (size_t i = 0; i < a.n; i++)
        if (a.entries[i].rows == 0 ||
            enso__algorithms_find(&a, &a.entries[i].product, a.entries[i].rows) != &a.entries[i])
            abort();
    enso__algorithms_done(&a);
    return 0;
}
