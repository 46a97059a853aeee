/* SPDX-License-Identifier: Apache-2.0
 *
 * Dead code: nodes on which no output depends go, and what was loaded for them is freed.
 */
#include "base/memory.h"
#include "engine/passes/pass_internal.h"
#include "engine/passes/passes.h"

/* Push the producer of a value unless it is marked already. */
static void mark(const struct enso_graph *g, int value, unsigned char *live, int *stack,
                 size_t *depth)
{
    int producer = value < 0 ? -1 : enso_graph_value(g, value)->producer;

    if (producer >= 0 && !live[producer]) {
        live[producer] = 1;
        stack[(*depth)++] = producer;
    }
}

static void mark_all(const struct enso_graph *g, unsigned char *live, int *stack)
{
    size_t depth = 0;

    for (size_t i = 0; i < enso_graph_n_outputs(g); i++)
        mark(g, enso_graph_output(g, i), live, stack, &depth);
    while (depth > 0) {
        const struct enso_node *n = enso_graph_node(g, stack[--depth]);

        for (size_t i = 0; i < n->n_inputs; i++)
            mark(g, n->inputs[i], live, stack, &depth);
    }
}

int enso_pass_remove_dead(struct enso_graph *g, bool *ret_changed, struct enso_error *err)
{
    size_t n = enso_graph_n_nodes(g);
    unsigned char *live = enso_alloc_zero(n + 1, 1);
    int *stack = enso_alloc_array(n + 1, sizeof *stack);

    *ret_changed = false;
    if (live == NULL || stack == NULL) {
        enso_free(live);
        enso_free(stack);
        return enso_error_no_memory(err, "a pass over a graph");
    }
    mark_all(g, live, stack);
    for (size_t i = 0; i < n; i++)
        if (!live[i] && enso_graph_node(g, (int)i)->op != ENSO_OP_NONE) {
            enso_graph_remove_node(g, (int)i);
            *ret_changed = true;
        }
    for (size_t i = 0; i < enso_graph_n_values(g); i++)
        if (enso__pass_is_constant(g, (int)i) && enso_graph_n_uses(g, (int)i) == 0)
            enso_graph_release_constant(g, (int)i);
    enso_free(live);
    enso_free(stack);
    return ENSO_OK;
}
