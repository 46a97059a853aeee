/* SPDX-License-Identifier: Apache-2.0
 *
 * An intrusive priority queue (pairing heap): jobs by urgency and by deadline, clients and queues
 * by the service they have had. Built for thousands of entries with push and pop first as the hot
 * operations: push O(1), pop and remove O(log n) amortised, no allocation, no recursion.
 *
 * To change an entry's key: remove it, change the key, push it. Not thread-safe.
 */
#ifndef ENSO_BATCHING_HEAP_H
#define ENSO_BATCHING_HEAP_H

#include <stdbool.h>
#include <stddef.h>

struct enso_heap_node {
    struct enso_heap_node *child; /* first child */
    struct enso_heap_node *next;  /* right sibling */
    struct enso_heap_node *prev;  /* left sibling, or the parent for a first child */
};

/* True when a comes before b. A strict order; entries that are equal come out in any order. */
typedef bool (*enso_heap_before_fn)(const struct enso_heap_node *a, const struct enso_heap_node *b);

struct enso_heap {
    struct enso_heap_node *first; /* NULL when empty; read it freely */
    enso_heap_before_fn before;
};

void enso_heap_init(struct enso_heap *heap, enso_heap_before_fn before);
void enso_heap_push(struct enso_heap *heap, struct enso_heap_node *node);   /* in no heap yet */
void enso_heap_remove(struct enso_heap *heap, struct enso_heap_node *node); /* must be in heap */

#endif
