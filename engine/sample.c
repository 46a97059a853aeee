/* SPDX-License-Identifier: Apache-2.0
 *
 * Samples: see sample.h. The struct itself is not in its arena, so that destroy is one walk.
 */
#include "engine/sample.h"

struct enso_sample *enso_sample_create(void)
{
    struct enso_sample *s = enso_alloc_zero(1, sizeof *s);

    if (s != NULL)
        s->n_items = 1;
    return s;
}

void enso_sample_destroy(struct enso_sample *s)
{
    if (s == NULL)
        return;
    enso_arena_done(&s->arena);
    enso_free(s);
}
