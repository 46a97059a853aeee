/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: any bytes as a form; the first line is the Content-Type. Parts must lie inside the
 * body, one behind the other.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "server/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *line = size != 0 ? memchr(data, '\n', size) : NULL, *at;
    struct enso_multipart form;
    struct enso_part part;
    char *type;

    if (line == NULL || (type = enso_strndup((const char *)data, (size_t)(line - data))) == NULL)
        return 0;
    at = line + 1;
    if (enso_multipart_begin(&form, type, at, size - (size_t)(at - data), NULL) == ENSO_OK) {
        while (enso_multipart_next(&form, &part, NULL) == ENSO_OK && part.data != NULL) {
            if (part.data < at || part.data > data + size ||
                part.size > (size_t)(data + size - part.data) ||
                memchr(part.name, '\0', sizeof part.name) == NULL)
                abort();
            at = part.data + part.size;
        }
    }
    enso_free(type);
    return 0;
}
