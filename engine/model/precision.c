/* SPDX-License-Identifier: Apache-2.0
 *
 * In which type a model computes: what was asked for, or what suits device and weights.
 *
 *     asked   device has   weights            computes in
 *     auto    neither      any                fp32
 *     auto    bf16         mostly fp16        fp16; bf16 where they have no room (*)
 *     auto    bf16         others             bf16
 *     auto    fp16 alone   within its range   fp16 (*, if they are bf16)
 *     auto    fp16 alone   others             fp32 (*)
 *     a type  it           within its range   that
 *
 * (*) info.dtype_reason says why. fp16 weights have no room in fp16 when passes have made others of
 * them.
 *
 * bf16 has fp32's range, so any weight fits; trained weights beyond 65504 are rare, but as fp16
 * they would be infinite. TF32 is not offered: fp32 means fp32.
 */
#include <stdio.h>

#include "engine/model/model_internal.h"
#include "engine/passes/passes.h"

static const char *const names[] = {
    [ENSO_DTYPE_F32] = "float32", [ENSO_DTYPE_F16] = "float16", [ENSO_DTYPE_BF16] = "bfloat16"};

/* A device that multiplies matrices in a type computes in it. */
static bool has(const struct enso_model *m, enum enso_dtype dtype)
{
    return m->backend->computes(m->device, ENSO_OP_LINEAR, dtype);
}

enum enso_dtype enso__model_stored_type(const struct enso_graph *g)
{
    double counts[ENSO_N_DTYPES] = {0}, all = 0;

    for (size_t i = 0; i < enso_graph_n_values(g); i++) {
        const struct enso_constant *c = enso_graph_value(g, (int)i)->constant;
        enum enso_dtype stored;

        if (c == NULL || !enso_dtype_is_float(c->dtype) || enso_graph_n_uses(g, (int)i) == 0)
            continue;
        stored = c->n_parts > 0 ? c->parts[0].stored : c->stored;
        counts[stored] += (double)enso_constant_count(c);
        all += (double)enso_constant_count(c);
    }
    return counts[ENSO_DTYPE_F16] > all / 2    ? ENSO_DTYPE_F16
           : counts[ENSO_DTYPE_BF16] > all / 2 ? ENSO_DTYPE_BF16
                                               : ENSO_DTYPE_F32;
}

/* fp32 when a weight has no room in fp16; that is an error where fp16 was asked for. */
static int check_range(struct enso_model *m, const struct enso_graph *g, bool asked,
                       enum enso_dtype *dtype, struct enso_error *err)
{
    const char *name;
    char reason[320];
    int st = enso_graph_find_beyond_f16(g, &name, err);

    if (st != ENSO_OK || name == NULL)
        return st;
    if (asked)
        return enso_error_set(err, ENSO_INVALID,
                              "tensor '%s' holds numbers beyond 65504, which fp16 does not have; "
                              "use dtype bf16, fp32 or auto",
                              name);
    (void)snprintf(reason, sizeof reason,
                   "tensor '%.200s' holds numbers beyond 65504, which fp16 does not have", name);
    m->info.dtype_reason = enso__model_keep(m, reason);
    *dtype = ENSO_DTYPE_F32;
    return m->info.dtype_reason != NULL ? ENSO_OK : enso_error_no_memory(err, "a model");
}

static int choose(struct enso_model *m, const struct enso_graph *g, enum enso_dtype *ret,
                  struct enso_error *err)
{
    int st;

    *ret = ENSO_DTYPE_F32;
    if (!has(m, ENSO_DTYPE_F16))
        return ENSO_OK;
    if (has(m, ENSO_DTYPE_BF16) && m->stored != ENSO_DTYPE_F16) {
        *ret = ENSO_DTYPE_BF16;
        return ENSO_OK;
    }
    *ret = ENSO_DTYPE_F16;
    st = check_range(m, g, false, ret, err);
    if (st == ENSO_OK && *ret == ENSO_DTYPE_F32 && has(m, ENSO_DTYPE_BF16))
        *ret = ENSO_DTYPE_BF16; /* what passes made of the weights has no room */
    if (st == ENSO_OK && *ret == ENSO_DTYPE_F16 && m->stored == ENSO_DTYPE_BF16)
        m->info.dtype_reason = "its weights are bf16, in which this GPU does not compute; all lie "
                               "within the range of fp16";
    return st;
}

static int take_asked(struct enso_model *m, const struct enso_graph *g, enum enso_dtype dtype,
                      struct enso_error *err)
{
    if (!has(m, dtype) && has(m, ENSO_DTYPE_F16))
        return enso_error_set(err, ENSO_INVALID,
                              "this GPU does not compute in bf16 (compute capability 8.0 and later "
                              "do); use dtype fp16, fp32 or auto");
    if (!has(m, dtype))
        return enso_error_set(err, ENSO_INVALID,
                              "dtype %s is for GPUs, and this device computes in fp32; use dtype "
                              "fp32 or auto, or a GPU as device",
                              dtype == ENSO_DTYPE_BF16 ? "bf16" : "fp16");
    return dtype == ENSO_DTYPE_F16 ? check_range(m, g, true, &dtype, err) : ENSO_OK;
}

int enso__model_lower(struct enso_model *m, const struct enso_model_options *options,
                      struct enso_graph *g, bool *ret_lowered, struct enso_error *err)
{
    struct enso_precision to = {.dtype = ENSO_DTYPE_F32,
                                .fast_gelu = options->fast_gelu,
                                .backend = m->backend,
                                .device = m->device};
    bool changed = false;
    int st = ENSO_OK;

    switch (options->dtype) {
    case ENSO_MODEL_DTYPE_AUTO:
        st = choose(m, g, &to.dtype, err);
        break;
    case ENSO_MODEL_DTYPE_FP32:
        break;
    case ENSO_MODEL_DTYPE_BF16:
    case ENSO_MODEL_DTYPE_FP16:
        to.dtype = options->dtype == ENSO_MODEL_DTYPE_BF16 ? ENSO_DTYPE_BF16 : ENSO_DTYPE_F16;
        st = take_asked(m, g, to.dtype, err);
        break;
    }
    if (st == ENSO_OK && to.dtype != ENSO_DTYPE_F32)
        st = enso_pass_lower_precision(g, &to, &changed, err);
    *ret_lowered = changed;
    m->info.dtype = names[changed ? to.dtype : ENSO_DTYPE_F32];
    return st;
}
