/* SPDX-License-Identifier: Apache-2.0
 *
 * Order of execution: depth first along inputs, starting at nodes by number. A file that is in
 * order stays in its order; nodes that passes added come right before their first reader, which
 * also keeps intermediate results short-lived (a breadth-first order would hold all branches at
 * once). The stack is explicit: depth comes from the file.
 */
#include "engine/graph/graph_internal.h"

enum colour { NEW, OPEN, DONE };

struct frame {
    int node;
    size_t next_input;
};

struct sorter {
    const struct enso_graph *g;
    unsigned char *colours;
    struct frame *stack;
    size_t depth;
    int *order;
    size_t n;
};

static const char *node_label(const struct enso_node *n)
{
    return n->name[0] != '\0' ? n->name : enso_op_name(n->op);
}

/* Finish the node on top of the stack, or push a producer it waits for. */
static int step(struct sorter *s, struct enso_error *err)
{
    struct frame *top = &s->stack[s->depth - 1];
    const struct enso_node *n = &s->g->nodes[top->node]->node;

    while (top->next_input < n->n_inputs) {
        int input = n->inputs[top->next_input++], producer;

        if (input == ENSO_NO_VALUE)
            continue;
        producer = s->g->values[input]->value.producer;
        if (producer < 0) {
            if (s->g->values[input]->value.constant == NULL && !enso_graph_is_input(s->g, input))
                return enso_error_set(err, ENSO_CORRUPT,
                                      "graph '%s': node '%s' (%s) reads '%s', which is neither an "
                                      "input, a constant nor made by a node",
                                      s->g->name, node_label(n), enso_op_name(n->op),
                                      s->g->values[input]->value.name);
            continue;
        }
        if (s->colours[producer] == OPEN)
            return enso_error_set(err, ENSO_CORRUPT,
                                  "graph '%s': node '%s' (%s) depends on its own output (a cycle)",
                                  s->g->name, node_label(n), enso_op_name(n->op));
        if (s->colours[producer] == NEW) {
            s->colours[producer] = OPEN;
            s->stack[s->depth++] = (struct frame){producer, 0};
            return ENSO_OK;
        }
    }
    s->colours[top->node] = DONE;
    s->order[s->n++] = top->node;
    s->depth--;
    return ENSO_OK;
}

static int sort(struct sorter *s, struct enso_error *err)
{
    for (size_t i = 0; i < s->g->n_nodes; i++) {
        if (s->g->nodes[i]->node.op == ENSO_OP_NONE || s->colours[i] != NEW)
            continue;
        s->colours[i] = OPEN;
        s->stack[s->depth++] = (struct frame){(int)i, 0};
        while (s->depth > 0) {
            int st = step(s, err);

            if (st != ENSO_OK)
                return st;
        }
    }
    for (size_t i = 0; i < s->g->n_outputs; i++) {
        int value = s->g->outputs[i].value;
        const struct enso_value *v = &s->g->values[value]->value;

        if (v->producer < 0 && v->constant == NULL && !enso_graph_is_input(s->g, value))
            return enso_error_set(err, ENSO_CORRUPT, "graph '%s': no node makes the output '%s'",
                                  s->g->name, s->g->outputs[i].name);
    }
    return ENSO_OK;
}

int enso_graph_sort(const struct enso_graph *g, int **ret_order, size_t *ret_n,
                    struct enso_error *err)
{
    struct sorter s = {.g = g};
    int st = ENSO_NO_MEMORY;

    s.colours = enso_alloc_zero(g->n_nodes + 1, 1);
    s.stack = enso_alloc_array(g->n_nodes + 1, sizeof *s.stack);
    s.order = enso_alloc_array(g->n_nodes + 1, sizeof *s.order);
    if (s.colours == NULL || s.stack == NULL || s.order == NULL)
        enso_error_no_memory(err, "the order of a graph");
    else
        st = sort(&s, err);
    enso_free(s.colours);
    enso_free(s.stack);
    if (st != ENSO_OK) {
        enso_free(s.order);
        return st;
    }
    *ret_order = s.order;
    *ret_n = s.n;
    return ENSO_OK;
}
