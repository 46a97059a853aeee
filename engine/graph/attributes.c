/* SPDX-License-Identifier: Apache-2.0
 *
 * Attributes of nodes: a short array per node, searched in order (a node has a handful). Values
 * live in the graph's arena; one that is set again leaves its old value there until the end.
 */
#include <string.h>

#include "engine/graph/graph_internal.h"

static struct enso_attribute *find(const struct enso_node *n, const char *name)
{
    for (size_t i = 0; i < n->n_attributes; i++)
        if (strcmp(n->attributes[i].name, name) == 0)
            return &n->attributes[i];
    return NULL;
}

/* Room for one more attribute. */
static int reserve(struct enso_graph *g, struct enso__node *n)
{
    size_t capacity = n->attribute_capacity == 0 ? 4 : 2 * n->attribute_capacity;
    struct enso_attribute *more;

    if (n->node.n_attributes < n->attribute_capacity)
        return ENSO_OK;
    more = enso_arena_alloc_zero(&g->arena, capacity, sizeof *more);
    if (more == NULL)
        return enso__graph_fail(g, ENSO_NO_MEMORY);
    for (size_t i = 0; i < n->node.n_attributes; i++)
        more[i] = n->node.attributes[i];
    n->node.attributes = more;
    n->attribute_capacity = capacity;
    return ENSO_OK;
}

/* Put *a (whose pointers are in the arena, but for the name) in place. */
static int set(struct enso_graph *g, int node, const char *name, struct enso_attribute a)
{
    struct enso_attribute *old;

    if (node < 0 || (size_t)node >= g->n_nodes)
        return enso__graph_fail(g, ENSO_INVALID);
    old = find(&g->nodes[node]->node, name);
    if (old != NULL) {
        a.name = old->name;
        *old = a;
        return ENSO_OK;
    }
    a.name = enso_arena_strndup(&g->arena, name, strlen(name));
    if (a.name == NULL)
        return enso__graph_fail(g, ENSO_NO_MEMORY);
    if (reserve(g, g->nodes[node]) != ENSO_OK)
        return ENSO_NO_MEMORY;
    g->nodes[node]->node.attributes[g->nodes[node]->node.n_attributes++] = a;
    return ENSO_OK;
}

/* A copy in the arena; NULL (and a failed graph) when there is no memory. */
static void *copy(struct enso_graph *g, const void *p, size_t n, size_t size_bytes)
{
    void *c = enso_arena_alloc_zero(&g->arena, n, size_bytes);

    if (c == NULL)
        enso__graph_fail(g, ENSO_NO_MEMORY);
    else if (n > 0)
        memcpy(c, p, n * size_bytes);
    return c;
}

int enso_graph_set_int(struct enso_graph *g, int node, const char *name, int64_t i)
{
    return set(g, node, name, (struct enso_attribute){.kind = ENSO_ATTR_INT, .i = i});
}

int enso_graph_set_float(struct enso_graph *g, int node, const char *name, float f)
{
    return set(g, node, name, (struct enso_attribute){.kind = ENSO_ATTR_FLOAT, .f = f});
}

int enso_graph_set_string(struct enso_graph *g, int node, const char *name, const char *s)
{
    const char *c = copy(g, s, strlen(s) + 1, 1);

    if (c == NULL)
        return ENSO_NO_MEMORY;
    return set(g, node, name, (struct enso_attribute){.kind = ENSO_ATTR_STRING, .s = c});
}

int enso_graph_set_ints(struct enso_graph *g, int node, const char *name, const int64_t *v,
                        size_t n)
{
    const int64_t *c = copy(g, v, n, sizeof *v);

    if (c == NULL)
        return ENSO_NO_MEMORY;
    return set(g, node, name, (struct enso_attribute){.kind = ENSO_ATTR_INTS, .ints = c, .n = n});
}

int enso_graph_set_floats(struct enso_graph *g, int node, const char *name, const float *v,
                          size_t n)
{
    const float *c = copy(g, v, n, sizeof *v);

    if (c == NULL)
        return ENSO_NO_MEMORY;
    return set(g, node, name,
               (struct enso_attribute){.kind = ENSO_ATTR_FLOATS, .floats = c, .n = n});
}

void enso_graph_remove_attribute(struct enso_graph *g, int node, const char *name)
{
    struct enso_node *n = &g->nodes[node]->node;
    struct enso_attribute *a = find(n, name);

    if (a != NULL)
        *a = n->attributes[--n->n_attributes];
}

int enso_graph_copy_attributes(struct enso_graph *g, int from_node, int to_node)
{
    if (from_node < 0 || to_node < 0 || (size_t)from_node >= g->n_nodes ||
        (size_t)to_node >= g->n_nodes)
        return enso__graph_fail(g, ENSO_INVALID);
    for (size_t i = 0; i < g->nodes[from_node]->node.n_attributes; i++) {
        struct enso_attribute a = g->nodes[from_node]->node.attributes[i];
        int st = set(g, to_node, a.name, a); /* values may be shared: the arena keeps them */

        if (st != ENSO_OK)
            return st;
    }
    return ENSO_OK;
}

int64_t enso_node_int(const struct enso_node *n, const char *name, int64_t otherwise)
{
    const struct enso_attribute *a = find(n, name);

    return a != NULL && a->kind == ENSO_ATTR_INT ? a->i : otherwise;
}

float enso_node_float(const struct enso_node *n, const char *name, float otherwise)
{
    const struct enso_attribute *a = find(n, name);

    return a != NULL && a->kind == ENSO_ATTR_FLOAT ? a->f : otherwise;
}

const char *enso_node_string(const struct enso_node *n, const char *name, const char *otherwise)
{
    const struct enso_attribute *a = find(n, name);

    return a != NULL && a->kind == ENSO_ATTR_STRING ? a->s : otherwise;
}

const int64_t *enso_node_ints(const struct enso_node *n, const char *name, size_t *ret_n)
{
    const struct enso_attribute *a = find(n, name);

    if (a == NULL || a->kind != ENSO_ATTR_INTS) {
        *ret_n = 0;
        return NULL;
    }
    *ret_n = a->n;
    return a->ints;
}

const float *enso_node_floats(const struct enso_node *n, const char *name, size_t *ret_n)
{
    const struct enso_attribute *a = find(n, name);

    if (a == NULL || a->kind != ENSO_ATTR_FLOATS) {
        *ret_n = 0;
        return NULL;
    }
    *ret_n = a->n;
    return a->floats;
}

bool enso_node_has(const struct enso_node *n, const char *name)
{
    return find(n, name) != NULL;
}
