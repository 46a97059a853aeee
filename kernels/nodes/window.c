/* SPDX-License-Identifier: Apache-2.0
 *
 * Sliding windows: see window.h.
 */
#include "ensod_build.h"

#include "kernels/nodes/window.h"

#include <string.h>

/* Longest dimension, stride, dilation, padding: products of two stay far from overflow. */
#define MOST ((int64_t)INT32_MAX)

static int read_ints(const struct enso__bind *b, const char *name, size_t max, int64_t min,
                     int64_t *v, uint8_t *ret_n, struct enso_error *err)
{
    size_t n;
    const int64_t *given = enso_node_ints(b->node, name, &n);

    if (n > max)
        return enso__unsupported(b, err,
                                 "%s has %zu entries; at most three spatial dimensions "
                                 "are supported",
                                 name, n);
    for (size_t i = 0; i < n; i++) {
        if (given[i] < min || given[i] > MOST)
            return enso__unsupported(b, err, "%s has the entry %lld", name, (long long)given[i]);
        v[i] = given[i];
    }
    *ret_n = (uint8_t)n;
    return ENSO_OK;
}

int enso__window_bind(const struct enso__bind *b, struct enso__window_attributes *ret,
                      struct enso_error *err)
{
    const char *auto_pad = enso_node_string(b->node, "auto_pad", "NOTSET");

    *ret = (struct enso__window_attributes){
        .same_upper = strcmp(auto_pad, "SAME_UPPER") == 0,
        .same_lower = strcmp(auto_pad, "SAME_LOWER") == 0,
        .valid = strcmp(auto_pad, "VALID") == 0,
    };
    int st = read_ints(b, "kernel_shape", ENSO__SPATIAL, 1, ret->kernel, &ret->n_kernel, err);
    if (st == ENSO_OK)
        st = read_ints(b, "strides", ENSO__SPATIAL, 1, ret->strides, &ret->n_strides, err);
    if (st == ENSO_OK)
        st = read_ints(b, "dilations", ENSO__SPATIAL, 1, ret->dilations, &ret->n_dilations, err);
    if (st == ENSO_OK)
        st = read_ints(b, "pads", 2 * ENSO__SPATIAL, 0, ret->pads, &ret->n_pads, err);
    return st;
}

bool enso__window_resolve(const struct enso__window_attributes *a, size_t n_spatial,
                          const int64_t *in, const int64_t *out, const int64_t *kernel,
                          struct enso__window *ret)
{
    if (n_spatial < 1 || n_spatial > ENSO__SPATIAL ||
        (kernel == NULL && a->n_kernel != n_spatial) ||
        (a->n_strides != 0 && a->n_strides != n_spatial) ||
        (a->n_dilations != 0 && a->n_dilations != n_spatial) ||
        (a->n_pads != 0 && a->n_pads != 2 * n_spatial))
        return false;
    *ret = (struct enso__window){.n_in = 1, .n_out = 1, .n_taps = 1};
    for (size_t i = 0; i < ENSO__SPATIAL; i++) {
        bool real = i + n_spatial >= ENSO__SPATIAL;
        size_t d = real ? i + n_spatial - ENSO__SPATIAL : 0;

        ret->in[i] = real ? in[d] : 1;
        ret->out[i] = real ? out[d] : 1;
        ret->kernel[i] = !real ? 1 : kernel != NULL ? kernel[d] : a->kernel[d];
        ret->strides[i] = real && a->n_strides != 0 ? a->strides[d] : 1;
        ret->dilations[i] = real && a->n_dilations != 0 ? a->dilations[d] : 1;
        if (ret->in[i] > MOST || ret->out[i] > MOST || ret->kernel[i] > MOST)
            return false;
        if (real && a->n_pads != 0 && !a->valid) {
            ret->begin[i] = a->pads[d];
            ret->end[i] = a->pads[d + n_spatial];
        }
        if (real && (a->same_upper || a->same_lower)) {
            int64_t total = (ret->out[i] - 1) * ret->strides[i] +
                            (ret->kernel[i] - 1) * ret->dilations[i] + 1 - ret->in[i];

            total = ENSO_MAX(total, (int64_t)0);
            ret->begin[i] = a->same_upper ? total / 2 : total - total / 2;
            ret->end[i] = total - ret->begin[i];
        }
        ret->n_in *= (size_t)ret->in[i];
        ret->n_out *= (size_t)ret->out[i];
        ret->n_taps *= (size_t)ret->kernel[i];
    }
    return true;
}
