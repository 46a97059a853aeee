/* SPDX-License-Identifier: Apache-2.0
 *
 * Building blocks of the architectures: see builder.h.
 */
#include "engine/architectures/builder.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAME_SIZE 256

int enso_builder_fail(struct enso_builder *b, enum enso_status status, const char *format, ...)
{
    va_list args;

    if (b->status != ENSO_OK)
        return ENSO_NO_VALUE;
    va_start(args, format);
    b->status = enso_error_vset(b->err, status, format, args);
    va_end(args);
    return ENSO_NO_VALUE;
}

/* A graph call's answer: a number, or a failure that sticks. */
static int took(struct enso_builder *b, int number)
{
    if (number >= 0)
        return number;
    return enso_builder_fail(b, (enum enso_status)number,
                             number == ENSO_NO_MEMORY ? "out of memory for the graph"
                                                      : "the graph has a name twice");
}

bool enso_builder_has(const struct enso_builder *b, const char *format, ...)
{
    struct enso_constant c;
    char name[NAME_SIZE];
    va_list args;
    size_t n = (size_t)snprintf(name, sizeof name, "%s", b->prefix);

    va_start(args, format);
    (void)vsnprintf(name + n, sizeof name - n, format, args); /* cut names are not found */
    va_end(args);
    return enso_safetensors_find(b->weights, name, &c);
}

/* Find a float tensor of exactly these dims. */
static bool find_weight(struct enso_builder *b, const char *name, size_t rank, const int64_t *dims,
                        struct enso_constant *ret_constant)
{
    b->status = enso_safetensors_need(b->weights, name, dims, rank, ret_constant, b->err);
    return b->status == ENSO_OK;
}

/* "<prefix><name>" as a constant of the graph; the same tensor asked for twice is one constant. */
static int weight_named(struct enso_builder *b, const char *name, size_t rank, const int64_t *dims)
{
    char full[NAME_SIZE + sizeof b->prefix], scoped[sizeof full + sizeof b->scope];
    struct enso_constant c;
    int value;

    if (b->status != ENSO_OK)
        return ENSO_NO_VALUE;
    (void)snprintf(full, sizeof full, "%s%s", b->prefix, name);
    (void)snprintf(scoped, sizeof scoped, "%s%s", b->scope, full);
    value = enso_graph_find_value(b->graph, scoped);
    if (value != ENSO_NO_VALUE)
        return value;
    if (!find_weight(b, full, rank, dims, &c))
        return ENSO_NO_VALUE;
    return took(b, enso_graph_add_constant(b->graph, scoped, &c));
}

int enso_builder_weight(struct enso_builder *b, size_t rank, const int64_t *dims,
                        const char *format, ...)
{
    char name[NAME_SIZE];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(name, sizeof name, format, args); /* a cut name is not found */
    va_end(args);
    return weight_named(b, name, rank, dims);
}

int enso_builder_node(struct enso_builder *b, enum enso_op op, const char *name, const int *inputs,
                      size_t n_inputs, int *ret_node)
{
    int node;

    if (b->status != ENSO_OK)
        return ENSO_NO_VALUE;
    node = took(b, enso_graph_add_node(b->graph, op, name, inputs, n_inputs, 1));
    if (node < 0)
        return ENSO_NO_VALUE;
    if (ret_node != NULL)
        *ret_node = node;
    return enso_graph_node(b->graph, node)->outputs[0];
}

void enso_builder_set_int(struct enso_builder *b, int node, const char *name, int64_t i)
{
    if (b->status == ENSO_OK)
        (void)took(b, enso_graph_set_int(b->graph, node, name, i));
}

void enso_builder_set_float(struct enso_builder *b, int node, const char *name, float f)
{
    if (b->status == ENSO_OK)
        (void)took(b, enso_graph_set_float(b->graph, node, name, f));
}

void enso_builder_set_string(struct enso_builder *b, int node, const char *name, const char *s)
{
    if (b->status == ENSO_OK)
        (void)took(b, enso_graph_set_string(b->graph, node, name, s));
}

int enso_builder_linear_of(struct enso_builder *b, const char *name, int x, int weight, int bias,
                           int residual, enum enso_activation activation)
{
    int node = -1;
    int y =
        enso_builder_node(b, ENSO_OP_LINEAR, name, (int[]){x, weight, bias, residual}, 4, &node);

    enso_builder_set_int(b, node, "activation", activation);
    return y;
}

int enso_builder_linear(struct enso_builder *b, const char *name, int x, int64_t n_out,
                        int64_t n_in, int residual, enum enso_activation activation)
{
    int weight = enso_builder_weight(b, 2, (int64_t[]){n_out, n_in}, "%s.weight", name);
    int bias = enso_builder_weight(b, 1, (int64_t[]){n_out}, "%s.bias", name);

    return enso_builder_linear_of(b, name, x, weight, bias, residual, activation);
}

/* Three tensors of the same dims as one constant, one above the other. */
static int stack(struct enso_builder *b, const char *block, const char *const names[3],
                 const char *suffix, size_t rank, const int64_t *dims)
{
    struct enso_constant all = {0};
    char name[NAME_SIZE];

    for (size_t i = 0; i < 3 && b->status == ENSO_OK; i++) {
        struct enso_constant c;

        (void)snprintf(name, sizeof name, "%s%s.%s%s", b->prefix, block, names[i], suffix);
        if (!find_weight(b, name, rank, dims, &c))
            return ENSO_NO_VALUE;
        if (i == 0)
            all = c;
        all.parts[i] = (struct enso_constant_part){c.file, c.offset, c.stored};
    }
    if (b->status != ENSO_OK)
        return ENSO_NO_VALUE;
    all.n_parts = 3;
    all.dims[0] *= 3;
    (void)snprintf(name, sizeof name, "%s%s.qkv%s", b->prefix, block, suffix);
    return took(b, enso_graph_add_constant(b->graph, name, &all));
}

int enso_builder_attention(struct enso_builder *b, const char *block, const char *const names[3],
                           int x, int starts, int work, int64_t hidden, int64_t n_heads)
{
    int weight = stack(b, block, names, ".weight", 2, (int64_t[]){hidden, hidden});
    int bias = stack(b, block, names, ".bias", 1, (int64_t[]){hidden});
    int qkv =
        enso_builder_linear_of(b, block, x, weight, bias, ENSO_NO_VALUE, ENSO_ACTIVATION_NONE);
    int node = -1;
    int y = enso_builder_node(b, ENSO_OP_ATTENTION, block, (int[]){qkv, starts, work}, 3, &node);

    enso_builder_set_int(b, node, "heads", n_heads);
    enso_builder_set_int(b, node, "size", hidden / ENSO_MAX(n_heads, 1));
    return y;
}

void enso_builder_norm_weights(struct enso_builder *b, const char *name, int64_t n, int *ret_gamma,
                               int *ret_beta)
{
    bool old = enso_builder_has(b, "%s.gamma", name); /* checkpoints converted from TensorFlow */

    *ret_gamma = enso_builder_weight(b, 1, &n, "%s.%s", name, old ? "gamma" : "weight");
    *ret_beta = enso_builder_weight(b, 1, &n, "%s.%s", name, old ? "beta" : "bias");
}

int enso_builder_layer_norm(struct enso_builder *b, const char *name, int x, int residual,
                            int64_t n, float epsilon)
{
    int gamma, beta, node = -1, y;

    enso_builder_norm_weights(b, name, n, &gamma, &beta);
    y = enso_builder_node(b, ENSO_OP_LAYER_NORM, name, (int[]){x, gamma, beta, residual}, 4, &node);
    enso_builder_set_float(b, node, "epsilon", epsilon);
    return y;
}

int enso_builder_ragged_input(struct enso_builder *b, const char *name, enum enso_extent extent,
                              int64_t n_columns)
{
    struct enso_shape shape = {.rank = n_columns > 1 ? 2 : 1,
                               .dims = {{1, extent}, enso_dim_fixed(n_columns)}};

    if (b->status != ENSO_OK)
        return ENSO_NO_VALUE;
    return took(b, enso_graph_add_input(b->graph, name, ENSO_DTYPE_I32, &shape));
}

int64_t enso_builder_config_int(struct enso_builder *b, const char *key, int64_t min, int64_t max,
                                int64_t otherwise)
{
    const json_t *v = json_object_get(b->config, key);
    int64_t i;

    if (b->status != ENSO_OK)
        return min;
    if (v == NULL || json_is_null(v)) {
        if (otherwise < 0)
            (void)enso_builder_fail(b, ENSO_CORRUPT, "config.json: '%s' is missing", key);
        return otherwise < 0 ? min : otherwise;
    }
    i = json_is_integer(v) ? json_integer_value(v) : min - 1;
    if (i >= min && i <= max)
        return i;
    (void)enso_builder_fail(b, ENSO_CORRUPT,
                            "config.json: '%s' must be a whole number from %lld to %lld", key,
                            (long long)min, (long long)max);
    return min;
}

double enso_builder_config_float(struct enso_builder *b, const char *key, double otherwise)
{
    const json_t *v = json_object_get(b->config, key);

    if (v == NULL || json_is_null(v))
        return otherwise;
    if (!json_is_number(v) || !isfinite(json_number_value(v)) || json_number_value(v) < 0) {
        (void)enso_builder_fail(b, ENSO_CORRUPT, "config.json: '%s' must be a number >= 0", key);
        return otherwise;
    }
    return json_number_value(v);
}

enum enso_activation enso_builder_config_activation(struct enso_builder *b, const char *key)
{
    static const struct {
        const char *name;
        enum enso_activation activation;
    } names[] = {
        {"gelu", ENSO_ACTIVATION_GELU},           {"relu", ENSO_ACTIVATION_RELU},
        {"gelu_new", ENSO_ACTIVATION_GELU_TANH},  {"gelu_pytorch_tanh", ENSO_ACTIVATION_GELU_TANH},
        {"gelu_fast", ENSO_ACTIVATION_GELU_TANH}, {"silu", ENSO_ACTIVATION_SILU},
        {"swish", ENSO_ACTIVATION_SILU},          {"tanh", ENSO_ACTIVATION_TANH},
    };
    const json_t *v = json_object_get(b->config, key);

    if (v == NULL)
        return ENSO_ACTIVATION_GELU; /* the library's default */
    for (size_t i = 0; json_is_string(v) && i < ENSO_ARRAY_SIZE(names); i++)
        if (strcmp(names[i].name, json_string_value(v)) == 0)
            return names[i].activation;
    (void)enso_builder_fail(b, ENSO_UNSUPPORTED,
                            "config.json: '%s' is %s; ensod knows gelu, gelu_new, "
                            "gelu_pytorch_tanh, gelu_fast, relu, silu, swish and tanh",
                            key, json_is_string(v) ? json_string_value(v) : "not a string");
    return ENSO_ACTIVATION_GELU;
}
