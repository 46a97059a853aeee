/* SPDX-License-Identifier: Apache-2.0
 *
 * Base64 from outside (pictures in JSON): what is accepted encodes back to the same text, and never
 * more is written than ENSO_BASE64_DECODED_SIZE says.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *out = enso_alloc(ENSO_BASE64_DECODED_SIZE(size));
    struct enso_buffer again = ENSO_BUFFER_INIT;
    struct enso_error err = {0};
    size_t n = 0;

    if (out == NULL)
        abort();
    if (enso_base64_decode((const char *)data, size, out, &n, &err) == ENSO_OK) {
        /* the last character may carry bits that stand for nothing; encoding clears them */
        size_t same = size < 4 ? 0 : size - 4;

        enso_buffer_put_base64(&again, out, n);
        if (again.failed || again.size != size || (same > 0 && memcmp(again.data, data, same) != 0))
            abort();
    } else if (err.message[0] == '\0') {
        abort();
    }
    enso_buffer_done(&again);
    enso_free(out);
    return 0;
}
