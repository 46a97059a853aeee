/* SPDX-License-Identifier: Apache-2.0
 *
 * Pairing heap: see heap.h. After Fredman, Sedgewick, Sleator and Tarjan, "The pairing heap: a new
 * form of self-adjusting heap" (1986), two-pass variant with both passes as loops.
 */
#include "batching/heap.h"

void enso_heap_init(struct enso_heap *heap, enso_heap_before_fn before)
{
    heap->first = NULL;
    heap->before = before;
}

/* Join two roots without siblings: the later one becomes the first child of the other. */
static struct enso_heap_node *join(const struct enso_heap *heap, struct enso_heap_node *a,
                                   struct enso_heap_node *b)
{
    if (a == NULL)
        return b;
    if (b == NULL)
        return a;
    if (heap->before(b, a)) {
        struct enso_heap_node *t = a;

        a = b;
        b = t;
    }
    b->prev = a;
    b->next = a->child;
    if (a->child != NULL)
        a->child->prev = b;
    a->child = b;
    return a;
}

/* Join a list of siblings into one root: in pairs from the left, then the pairs from the right. */
static struct enso_heap_node *join_siblings(const struct enso_heap *heap, struct enso_heap_node *n)
{
    struct enso_heap_node *pairs = NULL, *root = NULL;

    while (n != NULL) {
        struct enso_heap_node *a = n, *b = n->next, *pair;

        n = b != NULL ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b != NULL)
            b->next = b->prev = NULL;
        pair = join(heap, a, b);
        pair->next = pairs;
        pairs = pair;
    }
    while (pairs != NULL) {
        struct enso_heap_node *pair = pairs;

        pairs = pair->next;
        pair->next = NULL;
        root = join(heap, root, pair);
    }
    return root;
}

void enso_heap_push(struct enso_heap *heap, struct enso_heap_node *node)
{
    node->child = node->next = node->prev = NULL;
    heap->first = join(heap, heap->first, node);
}

void enso_heap_remove(struct enso_heap *heap, struct enso_heap_node *node)
{
    struct enso_heap_node *children = join_siblings(heap, node->child);

    if (node == heap->first) {
        heap->first = children;
    } else {
        if (node->prev->child == node)
            node->prev->child = node->next;
        else
            node->prev->next = node->next;
        if (node->next != NULL)
            node->next->prev = node->prev;
        heap->first = join(heap, heap->first, children);
    }
    node->child = node->next = node->prev = NULL;
}
