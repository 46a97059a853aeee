/* SPDX-License-Identifier: Apache-2.0
 *
 * Placing storages in one arena: offline bin packing in two dimensions (address, time), which is
 * NP-hard; greedy by size with best fit comes within a few percent of the largest simultaneous
 * demand on networks. Source of the heuristic: Pisarchyk and Lee, "Efficient Memory Management for
 * Deep Neural Net Inference" (2020), greedy by size.
 */
#include <stdlib.h>

#include "engine/program/program_internal.h"

static bool alive_together(const struct enso__storage *a, const struct enso__storage *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Larger first, then by number so that plans are the same every time. */
static int by_size(const void *a, const void *b)
{
    const struct enso__storage *x = *(struct enso__storage *const *)a,
                               *y = *(struct enso__storage *const *)b;

    if (x->size_bytes != y->size_bytes)
        return x->size_bytes < y->size_bytes ? 1 : -1;
    return x < y ? -1 : x > y;
}

/* Best place for s among those placed, which are sorted by offset. */
static size_t find_place(struct enso__storage *const *placed, size_t n,
                         const struct enso__storage *s)
{
    size_t end = 0, best = SIZE_MAX, best_gap = SIZE_MAX;

    for (size_t i = 0; i < n; i++) {
        const struct enso__storage *p = placed[i];

        if (!alive_together(p, s))
            continue;
        if (p->offset > end && p->offset - end >= s->size_bytes && p->offset - end < best_gap) {
            best = end;
            best_gap = p->offset - end;
        }
        end = ENSO_MAX(end, p->offset + p->size_bytes);
    }
    return best != SIZE_MAX ? best : end;
}

static void insert_sorted(struct enso__storage **placed, size_t n, struct enso__storage *s)
{
    while (n > 0 && placed[n - 1]->offset > s->offset) {
        placed[n] = placed[n - 1];
        n--;
    }
    placed[n] = s;
}

int enso__arena_place(struct enso__storage *storages, size_t n, size_t *ret_total,
                      struct enso_error *err)
{
    struct enso__storage **order = enso_alloc_array(2 * n + 1, sizeof *order), **placed;
    size_t total = 0, all = 0, n_placed = 0;

    if (order == NULL)
        return enso_error_no_memory(err, "a plan");
    placed = order + n;
    for (size_t i = 0; i < n; i++) {
        size_t rounded;

        if (storages[i].output)
            continue;
        if (!enso_size_add(storages[i].size_bytes, ENSO__ALIGNMENT - 1, &rounded) ||
            !enso_size_add(all, rounded, &all) || all > (size_t)PTRDIFF_MAX) {
            enso_free(order);
            return enso_error_set(err, ENSO_TOO_LARGE,
                                  "a batch of this size needs more memory than can be addressed");
        }
        storages[i].size_bytes = rounded & ~(size_t)(ENSO__ALIGNMENT - 1);
        order[n_placed++] = &storages[i];
    }
    qsort(order, n_placed, sizeof *order, by_size);
    for (size_t i = 0; i < n_placed; i++) {
        order[i]->offset = find_place(placed, i, order[i]);
        total = ENSO_MAX(total, order[i]->offset + order[i]->size_bytes);
        insert_sorted(placed, i, order[i]);
    }
    enso_free(order);
    *ret_total = total;
    return ENSO_OK;
}
