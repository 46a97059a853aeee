/* SPDX-License-Identifier: Apache-2.0
 *
 * Deficit round robin: who is served next, so that each of those who wait gets the same service.
 * Used twice: between the models of a device (service in predicted nanoseconds) and between the
 * clients of a model (service in cost units: within one model all units cost the same).
 *
 * This is deficit round robin with its quantum gone to zero. Textbook DRR gives every waiting
 * member a quantum per round and serves while its deficit lasts; a large quantum is coarse, a small
 * one costs empty rounds. Handing out the credit of all those empty rounds at once is the same as
 * keeping one running total `credit` (what each member that waited all along was granted) and per
 * member `used`: the deficit is credit - used, the next to be served is the one with the largest
 * deficit (the smallest `used`), equals take turns.
 *
 * Two rules make it fair to those who come and go:
 *   - who enters has at most the current credit: idle time is not saved up;
 *   - who has used more than its share keeps that debt while it is away.
 * Bound: over any time in which two members wait all along, their services differ by at most one
 * serving each (a batch between models, a sample between clients).
 *
 * Not thread-safe (the scheduler's mutex guards it). Enter, leave, charge O(log n); first O(1).
 */
#ifndef ENSO_BATCHING_FAIRNESS_H
#define ENSO_BATCHING_FAIRNESS_H

#include <stdint.h>

#include "batching/heap.h"

struct enso_fair {
    struct enso_heap waiting; /* shares, smallest `used` first */
    uint64_t credit;
    uint64_t n_turns;
};

struct enso_share {
    struct enso_heap_node node;
    uint64_t used;
    uint64_t turn; /* breaks ties: who was served or entered longest ago goes first */
    bool entered;
};

void enso_fair_init(struct enso_fair *fair);

/* The member has something to be served / has nothing left. Both are no-ops when already so. */
void enso_fair_enter(struct enso_fair *fair, struct enso_share *share);
void enso_fair_leave(struct enso_fair *fair, struct enso_share *share);

/* Whose turn it is, NULL when nobody waits. Borrowed until it leaves. */
struct enso_share *enso_fair_first(const struct enso_fair *fair);
/* True when a's turn comes before b's. */
bool enso_share_before(const struct enso_share *a, const struct enso_share *b);

/* The member (entered or not) is being served something that costs this much. */
void enso_fair_charge(struct enso_fair *fair, struct enso_share *share, uint64_t cost);

#endif
