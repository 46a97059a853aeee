/* SPDX-License-Identifier: Apache-2.0
 *
 * What the operators of every device need and that touches no device: reading attributes and
 * constant inputs while a node is bound, shapes, strides, errors that name operator and node.
 * kernels/cpu and kernels/cuda are both built on it, so that both understand a node alike.
 *
 * All functions are safe from any thread and keep nothing.
 */
#ifndef ENSO_KERNELS_NODES_NODE_H
#define ENSO_KERNELS_NODES_NODE_H

#include "base/memory.h"
#include "engine/backend.h"
#include "kernels/nodes/activation.h"

/* What bind functions get. The device is the backend's own struct. */
struct enso__bind {
    struct enso_device *device;
    const struct enso_graph *graph;
    const struct enso_node *node;
};

/* Refuse: ENSO_UNSUPPORTED naming operator, node and what is wrong with it. */
int enso__unsupported(const struct enso__bind *b, struct enso_error *err, const char *format, ...)
    ENSO_PRINTF(3, 4);
/* A failure of an operator of a node: "Add 'name': ..." */
int enso__op_error(enum enso_op op, const char *node, struct enso_error *err,
                   enum enso_status status, const char *format, ...) ENSO_PRINTF(5, 6);
int enso__op_verror(enum enso_op op, const char *node, struct enso_error *err,
                    enum enso_status status, const char *format, va_list args) ENSO_PRINTF(5, 0);

/* Value of an input or output while binding; NULL when absent. */
const struct enso_value *enso__bind_input(const struct enso__bind *b, size_t i);
const struct enso_value *enso__bind_output(const struct enso__bind *b, size_t i);
enum enso_dtype enso__bind_dtype(const struct enso__bind *b,
                                 size_t i); /* of input i; F32 if absent */

/* Refuse a node with half activations that `computes` (struct enso_backend) does not promise: a
 * family might read them as something else. Constants are the families' to look at. */
int enso__refuse_halves(const struct enso__bind *b,
                        bool (*computes)(const struct enso_device *device, enum enso_op op,
                                         enum enso_dtype dtype),
                        const char *device, struct enso_error *err);

/* Input i when it is a constant: its elements as floats (any type), 64-byte aligned, padded with
 * zeros to `pad` elements (at least 1); the caller's to enso_free. ENSO_OK with *ret NULL when it
 * is absent or no constant. */
int enso__constant_floats(const struct enso__bind *b, size_t i, size_t pad, float **ret_data,
                          size_t *ret_n, struct enso_error *err);

/* Up to ENSO__MAX_INTS integers that come from an attribute or a constant input at bind, or else
 * from input i's tensor at run. */
#define ENSO__MAX_INTS (2 * ENSO_MAX_RANK)
struct enso__ints {
    bool known;   /* v and n are filled in */
    bool present; /* given at all */
    uint8_t input;
    uint8_t n;
    int64_t v[ENSO__MAX_INTS];
};
int enso__ints_bind(const struct enso__bind *b, size_t input, const char *attribute,
                    struct enso__ints *ret, struct enso_error *err);
/* v and n from n integers in ordinary memory; false when there are too many or of another type. */
bool enso__ints_take(enum enso_dtype dtype, const void *data, size_t n, struct enso__ints *ret);

/* Shape helpers. */
bool enso__same_dims(const struct enso_tensor *a, const struct enso_tensor *b);
/* Strides in elements of t seen with `rank` dimensions dims, leading ones added; broadcast ones 0.
 * False when t does not broadcast to dims. */
bool enso__broadcast_strides(const struct enso_tensor *t, size_t rank, const int64_t *dims,
                             size_t *ret_strides);
/* Product of dims[first .. last). */
size_t enso__count(const int64_t *dims, size_t first, size_t last);
/* Axis with negatives counted from the end; -1 when out of range. */
int enso__axis(int64_t axis, size_t rank);
/* "2x3x4" for messages. */
struct enso__dims_text {
    char s[128];
};
struct enso__dims_text enso__dims_text(const struct enso_tensor *t);

/* Attributes activation, activation_min, ... of linear and conv. */
struct enso_activation_args enso__activation_args(const struct enso_node *node);

#endif
