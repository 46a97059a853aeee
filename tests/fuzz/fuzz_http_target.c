/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzzes request targets in a room of exactly the size asked for.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "server/http_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct enso_http_string *s)
{
    if (strlen(s->data) != s->size || !enso_utf8_valid(s->data, s->size, NULL))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *target = (const char *)data;
    void *room = malloc(enso_http_target_room(target, size));
    struct enso_error err = {0};
    struct enso_http_target t;

    if (room == NULL)
        return 0;
    if (enso_http_target_parse(target, size, room, &t, &err) == ENSO_OK) {
        for (size_t i = 0; i < t.n_segments; i++)
            check(&t.segments[i]);
        for (size_t i = 0; i < t.n_params; i++) {
            check(&t.params[i].name);
            check(&t.params[i].value);
        }
    } else if (err.message[0] == '\0') {
        abort();
    }
    free(room);
    return 0;
}
