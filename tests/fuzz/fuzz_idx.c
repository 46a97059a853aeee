/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzzes the reader of idx files, compressed or not.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/memory.h"
#include "cli/idx.h"
#include "cli/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct enso_stream *stream = NULL;
    struct enso_idx idx = {0};
    unsigned char *bytes;
    bool more = true;

    if (enso_stream_open_memory(data, size, "fuzz", &stream, NULL) != ENSO_OK ||
        enso_idx_init(&idx, stream, NULL) != ENSO_OK)
        return 0;
    if (idx.item_bytes == 0 || idx.item_bytes > ENSO_IDX_MAX_ITEM_BYTES)
        abort();
    bytes = enso_alloc(idx.item_bytes);
    /* a bomb of gzip may hold thousands of times its bytes: not all of it */
    for (size_t read = 0; bytes != NULL && more && read < (size_t)16 << 20;
         read += idx.item_bytes) {
        if (enso_idx_next(&idx, bytes, &more, NULL) != ENSO_OK)
            break;
    }
    enso_free(bytes);
    enso_idx_done(&idx);
    return 0;
}
