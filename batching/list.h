/* SPDX-License-Identifier: Apache-2.0
 *
 * Intrusive doubly linked lists: the node sits in the struct that is listed, so that linking never
 * allocates and removal from the middle is O(1). A list's head is a node of its own. A node that is
 * in no list points at itself after enso_list_init or enso_list_remove.
 */
#ifndef ENSO_BATCHING_LIST_H
#define ENSO_BATCHING_LIST_H

#include <stdbool.h>

#include "base/macros.h"

struct enso_list {
    struct enso_list *prev, *next;
};

static inline void enso_list_init(struct enso_list *head)
{
    head->prev = head->next = head;
}

static inline bool enso_list_empty(const struct enso_list *head)
{
    return head->next == head;
}

static inline void enso_list_append(struct enso_list *head, struct enso_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void enso_list_remove(struct enso_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    enso_list_init(node);
}

#endif
