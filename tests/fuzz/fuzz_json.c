/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON from outside: whatever the bytes, an answer; what is accepted stays within the limits, and
 * the scan's count is never below what the tree holds.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t count(const json_t *value)
{
    size_t n = 1, i;
    const char *key;
    json_t *item;

    json_array_foreach(value, i, item)
    {
        n += count(item);
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        n += count(item);
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct enso_json_limits limits = {16, 1000};
    struct enso_json_shape shape;
    struct enso_error err = {0};
    json_t *root = NULL;

    if (enso_json_parse((const char *)data, size, &limits, &root, &err) != ENSO_OK) {
        if (err.message[0] == '\0' || err.status == ENSO_OK)
            abort();
        return 0;
    }
    if (enso_json_scan((const char *)data, size, &limits, &shape, NULL) != ENSO_OK ||
        count(root) != shape.n_values)
        abort();

    const char *text;
    size_t length;
    int64_t number;
    json_t *list;

    (void)enso_json_get_string(root, "", "model", ENSO_JSON_REQUIRED, &text, &length, NULL);
    (void)enso_json_get_int(root, "", "top_k", ENSO_JSON_REQUIRED, 0, 10, &number, NULL);
    (void)enso_json_get_array(root, "", "input", ENSO_JSON_REQUIRED, &list, NULL);
    json_decref(root);
    return 0;
}
