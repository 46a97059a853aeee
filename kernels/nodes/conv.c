/* SPDX-License-Identifier: Apache-2.0
 *
 * CONV_FUSED's weights: see conv.h.
 */
#include "ensod_build.h"

#include "kernels/nodes/conv.h"

int enso__conv_fused_check(const struct enso__bind *b, struct enso_error *err)
{
    const struct enso_value *x = enso__bind_input(b, 0), *w = enso__bind_input(b, 1);
    int64_t group = enso_node_int(b->node, "group", 1);

    if (x == NULL || (x->dtype != ENSO_DTYPE_F32 && !enso_dtype_is_half(x->dtype)) || w == NULL ||
        !enso_dtype_is_float(w->dtype) || w->constant == NULL || w->constant->rank != 4)
        return enso__unsupported(b, err,
                                 "needs FP32, FP16 or BF16 and constant weights [M, C/group, kh, "
                                 "kw]");
    const int64_t *d = w->constant->dims;
    if (group < 1 || d[0] < 1 || d[1] < 1 || d[2] < 1 || d[3] < 1 || d[0] % group != 0 ||
        group > d[0] || d[2] > INT32_MAX || d[3] > INT32_MAX || d[1] > INT32_MAX)
        return enso__unsupported(b, err, "weights %lldx%lldx%lldx%lld in %lld groups",
                                 (long long)d[0], (long long)d[1], (long long)d[2], (long long)d[3],
                                 (long long)group);
    return ENSO_OK;
}

void enso__channels_last(const float *w, size_t n_rows, size_t channels, size_t taps, float *y)
{
    for (size_t r = 0; r < n_rows; r++, w += channels * taps)
        for (size_t t = 0; t < taps; t++)
            for (size_t c = 0; c < channels; c++)
                *y++ = w[c * taps + t];
}
