/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader of text_graph.h. A test's own tool: it aborts where a text is wrong.
 */
#include "tests/engine/graph/text_graph.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"

struct reader {
    struct enso_graph *g;
    const char *p, *line;
    bool failed; /* no memory for a constant's data */
};

static void die(const struct reader *r, const char *what)
{
    fprintf(stderr, "text_graph: %s in '%.80s' at '%.20s'\n", what, r->line, r->p);
    abort();
}

static void skip(struct reader *r)
{
    while (*r->p == ' ')
        r->p++;
}

static bool accept(struct reader *r, char c)
{
    skip(r);
    if (*r->p != c)
        return false;
    r->p++;
    return true;
}

static void expect(struct reader *r, char c)
{
    if (!accept(r, c))
        die(r, "unexpected text");
}

/* A word of letters, digits, '_', '.', ':' and '#'. */
static void word(struct reader *r, char *dst, size_t size)
{
    size_t n = 0;

    skip(r);
    while ((isalnum((unsigned char)*r->p) || strchr("_.:#", *r->p) != NULL) && *r->p != '\0') {
        if (n + 1 >= size)
            die(r, "a long word");
        dst[n++] = *r->p++;
    }
    dst[n] = '\0';
    if (n == 0)
        die(r, "no word");
}

static enum enso_dtype dtype(struct reader *r)
{
    static const struct {
        const char *name;
        enum enso_dtype dtype;
    } all[] = {{"f32", ENSO_DTYPE_F32}, {"f16", ENSO_DTYPE_F16}, {"bf16", ENSO_DTYPE_BF16},
               {"f64", ENSO_DTYPE_F64}, {"i64", ENSO_DTYPE_I64}, {"i32", ENSO_DTYPE_I32},
               {"i8", ENSO_DTYPE_I8},   {"u8", ENSO_DTYPE_U8},   {"bool", ENSO_DTYPE_BOOL}};
    char name[16];

    word(r, name, sizeof name);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(all); i++)
        if (strcmp(all[i].name, name) == 0)
            return all[i].dtype;
    die(r, "no such type");
    return ENSO_DTYPE_F32;
}

static struct enso_dim dim(struct reader *r)
{
    struct enso_dim d = {1, ENSO_EXTENT_FIXED};

    skip(r);
    if (isdigit((unsigned char)*r->p))
        d.factor = strtoll(r->p, (char **)&r->p, 10);
    if (accept(r, 'N'))
        d.extent = ENSO_EXTENT_ITEMS;
    else if (accept(r, 'T'))
        d.extent = ENSO_EXTENT_TOKENS;
    else if (accept(r, 'W'))
        d.extent = ENSO_EXTENT_WORK;
    else if (accept(r, 'B'))
        d.extent = accept(r, '+') && accept(r, '1') ? ENSO_EXTENT_STARTS : ENSO_EXTENT_SEQUENCES;
    return d;
}

static struct enso_shape shape(struct reader *r)
{
    struct enso_shape s = {0};

    expect(r, '[');
    while (!accept(r, ']')) {
        s.dims[s.rank++] = dim(r);
        accept(r, ',');
    }
    return s;
}

static void store(void *data, enum enso_dtype type, int64_t i, double v, int64_t whole)
{
    switch (type) {
    case ENSO_DTYPE_F32:
        ((float *)data)[i] = (float)v;
        break;
    case ENSO_DTYPE_F64:
        ((double *)data)[i] = v;
        break;
    case ENSO_DTYPE_I64:
        ((int64_t *)data)[i] = whole;
        break;
    case ENSO_DTYPE_I32:
        ((int32_t *)data)[i] = (int32_t)whole;
        break;
    case ENSO_DTYPE_F16: {
        float f = (float)v;

        enso_f32_to_f16(&f, (uint16_t *)data + i, 1);
        break;
    }
    case ENSO_DTYPE_BF16: {
        float f = (float)v;

        enso_f32_to_bf16(&f, (uint16_t *)data + i, 1);
        break;
    }
    default:
        ((int8_t *)data)[i] = (int8_t)whole;
    }
}

static void fill(struct reader *r, const char *name, struct enso_constant *c)
{
    int64_t n = enso_constant_count(c);
    uint32_t seed = 1;
    int64_t whole = 0;
    double v = 0;

    for (const char *s = name; *s != '\0'; s++)
        seed = seed * 31 + (unsigned char)*s;
    if (accept(r, '=')) {
        skip(r);
        for (int64_t i = 0; i < n; i++) {
            skip(r);
            if (*r->p != '\n' && *r->p != '\0') {
                whole = strtoll(r->p, NULL, 10);
                v = strtod(r->p, (char **)&r->p);
            }
            store(c->data, c->dtype, i, v, whole);
        }
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525 + 1013904223;
        v = (double)(seed >> 8) / (1 << 24) - 0.5;
        store(c->data, c->dtype, i, v, seed >> 30);
    }
}

static void constant(struct reader *r)
{
    struct enso_constant c = {0};
    struct enso_shape s;
    char name[64];

    word(r, name, sizeof name);
    c.dtype = c.stored = dtype(r);
    s = shape(r);
    c.rank = s.rank;
    for (size_t i = 0; i < s.rank; i++)
        c.dims[i] = s.dims[i].factor;
    c.data = enso_alloc(enso_dtype_row_bytes(c.dtype, (size_t)enso_constant_count(&c)));
    if (c.data == NULL) {
        r->failed = true;
        while (*r->p != '\n' && *r->p != '\0')
            r->p++;
        return;
    }
    fill(r, name, &c);
    (void)!enso_graph_add_constant(r->g, name, &c); /* the graph's status tells */
}

/* The value of a name; nodes may read what later lines make. */
static int value(struct reader *r, const char *name)
{
    int v = enso_graph_find_value(r->g, name);

    return v >= 0 ? v : enso_graph_add_value(r->g, name);
}

static void attribute_list(struct reader *r, int node, const char *name)
{
    int64_t ints[32];
    float floats[32];
    bool is_float = false;
    size_t n = 0;

    while (!accept(r, ']')) {
        char *end;

        skip(r);
        floats[n] = strtof(r->p, &end);
        ints[n++] = strtoll(r->p, NULL, 10);
        for (const char *s = r->p; s < end; s++)
            is_float |= *s == '.';
        r->p = end;
        accept(r, ',');
    }
    if (is_float)
        enso_graph_set_floats(r->g, node, name, floats, n);
    else
        enso_graph_set_ints(r->g, node, name, ints, n);
}

static void attribute(struct reader *r, int node)
{
    char name[64], text[64], *end;
    size_t n = 0;
    float f;

    word(r, name, sizeof name);
    expect(r, '=');
    if (accept(r, '[')) {
        attribute_list(r, node, name);
        return;
    }
    if (accept(r, '"')) {
        while (*r->p != '"')
            text[n++] = *r->p++;
        r->p++;
        text[n] = '\0';
        enso_graph_set_string(r->g, node, name, text);
        return;
    }
    f = strtof(r->p, &end);
    if (memchr(r->p, '.', (size_t)(end - r->p)) != NULL)
        enso_graph_set_float(r->g, node, name, f);
    else
        enso_graph_set_int(r->g, node, name, strtoll(r->p, NULL, 10));
    r->p = end;
}

static void node(struct reader *r)
{
    char name[64], first[64] = "", op_name[64];
    int inputs[16], outputs[16], number;
    size_t n_inputs = 0, n_outputs = 0;
    enum enso_op op;

    do {
        word(r, name, sizeof name);
        if (n_outputs == 0)
            memcpy(first, name, sizeof first);
        outputs[n_outputs++] = value(r, name);
    } while (accept(r, ','));
    expect(r, '=');
    word(r, op_name, sizeof op_name);
    op = enso_op_from_onnx(op_name);
    if (op == ENSO_OP_NONE)
        die(r, "no such operator");
    expect(r, '(');
    while (!accept(r, ')')) {
        if (accept(r, '-')) {
            inputs[n_inputs++] = ENSO_NO_VALUE;
        } else {
            word(r, name, sizeof name);
            inputs[n_inputs++] = value(r, name);
        }
        accept(r, ',');
    }
    number = enso_graph_add_node_to(r->g, op, first, inputs, n_inputs, outputs, n_outputs);
    for (skip(r); *r->p != '\n' && *r->p != '\0'; skip(r))
        attribute(r, number);
}

static void statement(struct reader *r)
{
    const char *start = r->p;
    char name[64];

    word(r, name, sizeof name);
    if (strcmp(name, "input") == 0) {
        enum enso_dtype type;
        struct enso_shape s;

        word(r, name, sizeof name);
        type = dtype(r);
        s = shape(r);
        (void)!enso_graph_add_input(r->g, name, type, &s); /* the graph's status tells */
    } else if (strcmp(name, "const") == 0) {
        constant(r);
    } else if (strcmp(name, "output") == 0) {
        word(r, name, sizeof name);
        enso_graph_add_output(r->g, name, value(r, name));
    } else {
        r->p = start;
        node(r);
    }
}

struct enso_graph *text_graph(const char *text)
{
    struct reader r = {enso_graph_create("test"), text, text, false};

    if (r.g == NULL)
        return NULL;
    for (;;) {
        while (*r.p == ' ' || *r.p == '\n')
            r.p++;
        if (*r.p == '\0')
            break;
        r.line = r.p;
        statement(&r);
        skip(&r);
        if (*r.p != '\n' && *r.p != '\0')
            die(&r, "text left over");
    }
    if (r.failed) {
        enso_graph_destroy(r.g);
        return NULL;
    }
    return r.g;
}

char *text_dump(const struct enso_graph *g)
{
    struct enso_buffer b = ENSO_BUFFER_INIT;
    char *copy;

    enso_graph_dump(g, &b);
    copy = b.failed ? NULL : strdup(b.data);
    enso_buffer_done(&b);
    return copy;
}

size_t text_count(const struct enso_graph *g, enum enso_op op)
{
    size_t n = 0;

    for (size_t i = 0; i < enso_graph_n_nodes(g); i++)
        n += enso_graph_node(g, (int)i)->op == op;
    return n;
}

size_t text_count_all(const struct enso_graph *g)
{
    return enso_graph_n_nodes(g) - text_count(g, ENSO_OP_NONE);
}

void text_raise(struct enso_graph *g, enum enso_dtype dtype)
{
    struct enso_error err = {0};

    for (size_t i = 0; i < enso_graph_n_values(g); i++) {
        struct enso_value *v = enso_graph_value(g, (int)i);

        if (v->constant != NULL && v->constant->dtype == dtype)
            v->dtype = v->constant->dtype = ENSO_DTYPE_F32;
    }
    for (size_t i = 0; i < enso_graph_n_nodes(g); i++) {
        const struct enso_node *n = enso_graph_node(g, (int)i);

        if (enso_node_int(n, "to", -1) == (int64_t)dtype)
            enso_graph_set_int(g, (int)i, "to", ENSO_DTYPE_F32);
        if (enso_node_int(n, "dtype", -1) == (int64_t)dtype)
            enso_graph_set_int(g, (int)i, "dtype", ENSO_DTYPE_F32);
    }
    if (enso_graph_infer(g, &err) != ENSO_OK) {
        fprintf(stderr, "a raised graph: %s\n", err.message);
        abort();
    }
}
