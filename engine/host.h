/* SPDX-License-Identifier: Apache-2.0
 *
 * What the daemon lends to a backend in a module of its own. A module links nothing of the daemon;
 * it gets this table at its entry and calls memory, errors, log, graph and constants through it, so
 * that there is one allocator, one log, and one reading of a graph in the process.
 *
 * A module brings functions of the same names that forward to the table
 * (kernels/cuda/host_calls.c), so that its code, and what it shares with the CPU backend, uses the
 * ordinary headers. Functions with "..." go through their va_list forms; enso_log of a module takes
 * a sentence, no fields.
 */
#ifndef ENSO_ENGINE_HOST_H
#define ENSO_ENGINE_HOST_H

#include <stdarg.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "engine/graph/graph.h"
#include "engine/ops/ops.h"
#include "engine/tensor.h"

/* X(what it returns, name, parameters, arguments) */
#define ENSO_HOST_LIST(X)                                                                          \
    X(enum enso_status, enso_error_vset,                                                           \
      (struct enso_error * err, enum enso_status status, const char *format, va_list args),        \
      (err, status, format, args))                                                                 \
    X(enum enso_status, enso_error_no_memory, (struct enso_error * err, const char *what),         \
      (err, what))                                                                                 \
    X(void, enso_error_clear, (struct enso_error * err), (err))                                    \
    X(bool, enso_log_enabled, (enum enso_log_level level), (level))                                \
    X(void, enso_free, (void *p), (p))                                                             \
    X(void *, enso_alloc, (size_t size_bytes), (size_bytes))                                       \
    X(void *, enso_alloc_zero, (size_t n, size_t size_bytes), (n, size_bytes))                     \
    X(void *, enso_alloc_array, (size_t n, size_t size_bytes), (n, size_bytes))                    \
    X(void *, enso_realloc_array, (void *p, size_t n, size_t size_bytes), (p, n, size_bytes))      \
    X(void *, enso_alloc_aligned, (size_t alignment, size_t size_bytes), (alignment, size_bytes))  \
    X(bool, enso_size_mul, (size_t a, size_t b, size_t * ret), (a, b, ret))                        \
    X(bool, enso_size_add, (size_t a, size_t b, size_t * ret), (a, b, ret))                        \
    X(const char *, enso_op_name, (enum enso_op op), (op))                                         \
    X(size_t, enso_dtype_row_bytes, (enum enso_dtype dtype, size_t n), (dtype, n))                 \
    X(const char *, enso_dtype_name, (enum enso_dtype dtype), (dtype))                             \
    X(bool, enso_dims_count, (const int64_t *dims, size_t rank, int64_t *ret_count),               \
      (dims, rank, ret_count))                                                                     \
    X(size_t, enso_tensor_bytes, (const struct enso_tensor *t), (t))                               \
    X(void, enso_f16_to_f32, (const uint16_t *x, float *y, size_t n), (x, y, n))                   \
    X(void, enso_bf16_to_f32, (const uint16_t *x, float *y, size_t n), (x, y, n))                  \
    X(void, enso_f32_to_f16, (const float *x, uint16_t *y, size_t n), (x, y, n))                   \
    X(void, enso_f32_to_bf16, (const float *x, uint16_t *y, size_t n), (x, y, n))                  \
    X(bool, enso_graph_wants_batch_invariant, (const struct enso_graph *g), (g))                   \
    X(struct enso_node *, enso_graph_node, (const struct enso_graph *g, int node), (g, node))      \
    X(struct enso_value *, enso_graph_value, (const struct enso_graph *g, int value), (g, value))  \
    X(bool, enso_graph_is_output, (const struct enso_graph *g, int value), (g, value))             \
    X(int64_t, enso_node_int, (const struct enso_node *n, const char *name, int64_t otherwise),    \
      (n, name, otherwise))                                                                        \
    X(float, enso_node_float, (const struct enso_node *n, const char *name, float otherwise),      \
      (n, name, otherwise))                                                                        \
    X(const char *, enso_node_string,                                                              \
      (const struct enso_node *n, const char *name, const char *otherwise), (n, name, otherwise))  \
    X(const int64_t *, enso_node_ints,                                                             \
      (const struct enso_node *n, const char *name, size_t *ret_n), (n, name, ret_n))              \
    X(const float *, enso_node_floats,                                                             \
      (const struct enso_node *n, const char *name, size_t *ret_n), (n, name, ret_n))              \
    X(bool, enso_node_has, (const struct enso_node *n, const char *name), (n, name))               \
    X(int64_t, enso_dim_at, (struct enso_dim d, const struct enso_extents *e), (d, e))             \
    X(int64_t, enso_constant_count, (const struct enso_constant *c), (c))                          \
    X(int, enso_constant_read,                                                                     \
      (const struct enso_constant *c, int64_t first, int64_t n, void *dst,                         \
       struct enso_error *err),                                                                    \
      (c, first, n, dst, err))

/* The list as text: what both sides believe the table to be. */
#define ENSO_HOST_TEXT(returns, name, parameters, arguments) #returns " " #name #parameters ";"
#define ENSO_HOST_SIGNATURE ENSO_HOST_LIST(ENSO_HOST_TEXT)

/* A module looks at the first three before it calls anything, and refuses when it was built for
 * another ABI, with other structs, or with another list. */
struct enso_host {
    uint32_t abi;          /* ENSO_BACKEND_ABI */
    uint32_t layout;       /* ENSO_BACKEND_LAYOUT */
    const char *signature; /* ENSO_HOST_SIGNATURE */
#define ENSO_HOST_MEMBER(returns, name, parameters, arguments) returns(*name) parameters;
    ENSO_HOST_LIST(ENSO_HOST_MEMBER)
#undef ENSO_HOST_MEMBER
    /* One event of the module with a sentence. */
    void (*log)(enum enso_log_level level, const char *event, const char *detail);
};

/* The daemon's own; constant, never NULL. */
const struct enso_host *enso_host(void);

#endif
