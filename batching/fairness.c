/* SPDX-License-Identifier: Apache-2.0
 *
 * Deficit round robin: see fairness.h.
 */
#include "batching/fairness.h"

#include "base/macros.h"

bool enso_share_before(const struct enso_share *a, const struct enso_share *b)
{
    return a->used != b->used ? a->used < b->used : a->turn < b->turn;
}

static bool node_before(const struct enso_heap_node *a, const struct enso_heap_node *b)
{
    return enso_share_before(ENSO_CONTAINER_OF(a, const struct enso_share, node),
                             ENSO_CONTAINER_OF(b, const struct enso_share, node));
}

void enso_fair_init(struct enso_fair *fair)
{
    enso_heap_init(&fair->waiting, node_before);
    fair->credit = 0;
    fair->n_turns = 0;
}

void enso_fair_enter(struct enso_fair *fair, struct enso_share *share)
{
    if (share->entered)
        return;
    share->used = ENSO_MAX(share->used, fair->credit);
    share->turn = fair->n_turns++;
    share->entered = true;
    enso_heap_push(&fair->waiting, &share->node);
}

void enso_fair_leave(struct enso_fair *fair, struct enso_share *share)
{
    if (!share->entered)
        return;
    share->entered = false;
    enso_heap_remove(&fair->waiting, &share->node);
}

struct enso_share *enso_fair_first(const struct enso_fair *fair)
{
    if (fair->waiting.first == NULL)
        return NULL;
    return ENSO_CONTAINER_OF(fair->waiting.first, struct enso_share, node);
}

void enso_fair_charge(struct enso_fair *fair, struct enso_share *share, uint64_t cost)
{
    if (share->entered)
        enso_heap_remove(&fair->waiting, &share->node);
    /* Whoever is served had the largest deficit, so all were granted as much as it had used. */
    fair->credit = ENSO_MAX(fair->credit, share->used);
    share->used += cost;
    share->turn = fair->n_turns++;
    if (share->entered)
        enso_heap_push(&fair->waiting, &share->node);
}
