/* SPDX-License-Identifier: Apache-2.0
 *
 * The work list of a ragged batch's attention: a device with many processors takes tiles of queries
 * from it, one after the other. Tiles of the longest sequences come first, since each takes as long
 * as its sequence has keys: the short ones at the end fill what is left.
 */
#include <stdlib.h>

#include "engine/model/model_internal.h"

/* A sequence while the list is made, an entry of it afterwards. */
struct pair {
    int32_t first, second;
};

/* Longer ones first, then by number. */
static int by_length(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;

    if (x->first != y->first)
        return x->first < y->first ? 1 : -1;
    return x->second < y->second ? -1 : 1;
}

/* Sorted in the list's own memory: the sequences stand in its last places. k + 1 of them have at
 * most (their tokens / 64) + k + 1 tiles, and starts[n] / 64 places come before the first: what is
 * written never reaches what is still to be read. */
void enso__attention_work(const int32_t *starts, size_t n_sequences, size_t n_entries,
                          int32_t *work)
{
    struct pair *list = (struct pair *)work, *order = list + (n_entries - n_sequences);
    size_t n = 0;

    for (size_t i = 0; i < n_sequences; i++)
        order[i] = (struct pair){starts[i + 1] - starts[i], (int32_t)i};
    qsort(order, n_sequences, sizeof *order, by_length);
    for (size_t i = 0; i < n_sequences; i++) {
        struct pair sequence = order[i];
        int32_t n_tiles = (sequence.first + ENSO_ATTENTION_TILE - 1) / ENSO_ATTENTION_TILE;

        for (int32_t tile = 0; tile < n_tiles; tile++)
            list[n++] = (struct pair){sequence.second, tile};
    }
    for (; n < n_entries; n++)
        list[n] = (struct pair){-1, -1};
}
