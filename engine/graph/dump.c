/* SPDX-License-Identifier: Apache-2.0
 *
 * A graph as text, for tests and ensod --check:
 *
 *     graph mnist
 *     input image FP32[N, 1, 28, 28]
 *     conv:0 = Conv(image, conv.weight) pads=[1, 1, 1, 1] FP32[N, 8, 28, 28]
 *     output logits = conv:0
 */
#include "base/buffer.h"
#include "engine/graph/graph_internal.h"

void enso_shape_print(const struct enso_shape *shape, struct enso_buffer *b)
{
    static const char *const names[] = {"", "N", "T", "B", "(B+1)", "(T/64+B)"};

    enso_buffer_putc(b, '[');
    for (size_t i = 0; i < shape->rank; i++) {
        struct enso_dim d = shape->dims[i];

        enso_buffer_puts(b, i == 0 ? "" : ", ");
        if (d.extent == ENSO_EXTENT_FIXED || d.factor != 1)
            enso_buffer_printf(b, "%lld", (long long)d.factor);
        enso_buffer_puts(b, names[d.extent]);
    }
    enso_buffer_putc(b, ']');
}

static void print_type(const struct enso_value *v, struct enso_buffer *b)
{
    if (!v->has_shape) {
        enso_buffer_puts(b, "?");
        return;
    }
    enso_buffer_puts(b, enso_dtype_name(v->dtype));
    enso_shape_print(&v->shape, b);
}

static void print_attribute(const struct enso_attribute *a, struct enso_buffer *b)
{
    enso_buffer_printf(b, " %s=", a->name);
    switch (a->kind) {
    case ENSO_ATTR_INT:
        enso_buffer_printf(b, "%lld", (long long)a->i);
        break;
    case ENSO_ATTR_FLOAT:
        enso_buffer_printf(b, "%g", (double)a->f);
        break;
    case ENSO_ATTR_STRING:
        enso_buffer_printf(b, "\"%s\"", a->s);
        break;
    case ENSO_ATTR_INTS:
    case ENSO_ATTR_FLOATS:
        enso_buffer_putc(b, '[');
        for (size_t i = 0; i < a->n; i++) {
            enso_buffer_puts(b, i == 0 ? "" : ", ");
            if (a->kind == ENSO_ATTR_INTS)
                enso_buffer_printf(b, "%lld", (long long)a->ints[i]);
            else
                enso_buffer_printf(b, "%g", (double)a->floats[i]);
        }
        enso_buffer_putc(b, ']');
        break;
    }
}

static void print_node(const struct enso_graph *g, const struct enso_node *n, struct enso_buffer *b)
{
    for (size_t i = 0; i < n->n_outputs; i++)
        enso_buffer_printf(b, "%s%s", i == 0 ? "" : ", ", g->values[n->outputs[i]]->value.name);
    enso_buffer_printf(b, " = %s(", enso_op_name(n->op));
    for (size_t i = 0; i < n->n_inputs; i++)
        enso_buffer_printf(b, "%s%s", i == 0 ? "" : ", ",
                           n->inputs[i] == ENSO_NO_VALUE ? "-"
                                                         : g->values[n->inputs[i]]->value.name);
    enso_buffer_putc(b, ')');
    for (size_t i = 0; i < n->n_attributes; i++)
        print_attribute(&n->attributes[i], b);
    for (size_t i = 0; i < n->n_outputs; i++) {
        enso_buffer_puts(b, i == 0 ? " " : ", ");
        print_type(&g->values[n->outputs[i]]->value, b);
    }
    enso_buffer_putc(b, '\n');
}

void enso_graph_dump(const struct enso_graph *g, struct enso_buffer *b)
{
    int *order = NULL;
    size_t n = 0;

    enso_buffer_printf(b, "graph %s\n", g->name);
    for (size_t i = 0; i < g->n_inputs; i++) {
        enso_buffer_printf(b, "input %s ", g->values[g->inputs[i]]->value.name);
        print_type(&g->values[g->inputs[i]]->value, b);
        enso_buffer_putc(b, '\n');
    }
    if (enso_graph_sort(g, &order, &n, NULL) != ENSO_OK)
        enso_buffer_puts(b, "(the graph has no order)\n");
    for (size_t i = 0; i < n; i++)
        print_node(g, &g->nodes[order[i]]->node, b);
    enso_free(order);
    for (size_t i = 0; i < g->n_outputs; i++)
        enso_buffer_printf(b, "output %s = %s\n", g->outputs[i].name,
                           g->values[g->outputs[i].value]->value.name);
}
