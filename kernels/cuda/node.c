/* SPDX-License-Identifier: Apache-2.0
 *
 * What all families of operators share on the host side: see cuda_internal.h.
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

#include <stdio.h>
#include <string.h>

#include "kernels/cuda/device.h"

void *enso__cuda_bound_new(const struct enso__bind *b, size_t size_bytes, enso__cuda_run_fn run,
                           struct enso_error *err)
{
    struct enso_bound *bound = enso_alloc_zero(1, size_bytes);

    if (bound == NULL) {
        enso_error_no_memory(err, "a bound operator");
        return NULL;
    }
    bound->op = b->node->op;
    snprintf(bound->node, sizeof(bound->node), "%s", b->node->name != NULL ? b->node->name : "");
    bound->device = b->device;
    bound->bytes = size_bytes;
    bound->run = run;
    return bound;
}

void enso__cuda_bound_free(struct enso_bound *bound)
{
    if (bound == NULL)
        return;
    if (bound->release != NULL)
        bound->release(bound);
    enso_free(bound);
}

int enso__cuda_floats(const struct enso__bind *b, const float *data, size_t n, float **ret_device,
                      struct enso_error *err)
{
    void *memory = NULL;
    size_t bytes;

    if (!enso_size_mul(n, sizeof(float), &bytes))
        return enso_error_no_memory(err, "weights");
    int st = enso__cuda_alloc(b->device, bytes, "weights", &memory, err);

    if (st == ENSO_OK)
        st = enso__cuda_upload(b->device, memory, data, bytes, err);
    if (st != ENSO_OK) {
        enso__cuda_free(b->device, memory);
        return st;
    }
    *ret_device = memory;
    return ENSO_OK;
}

int enso__cuda_constant(const struct enso__bind *b, size_t i, size_t pad, float **ret_device,
                        size_t *ret_n, struct enso_error *err)
{
    float *data = NULL;

    *ret_device = NULL;
    *ret_n = 0;
    int st = enso__constant_floats(b, i, pad, &data, ret_n, err);
    if (st != ENSO_OK || data == NULL)
        return st;
    /* enso__constant_floats has checked that the padded size does not overflow */
    st = enso__cuda_floats(b, data, ENSO_MAX((*ret_n + pad - 1) / pad * pad, pad), ret_device, err);
    enso_free(data);
    return st;
}

int enso__cuda_ints(const struct enso__bind *b, size_t input, const char *attribute,
                    struct enso__ints *ret, struct enso_error *err)
{
    int st = enso__ints_bind(b, input, attribute, ret, err);

    if (st == ENSO_OK && !ret->known)
        return enso__unsupported(
            b, err, "input %zu is known only at run time, which the GPU cannot use", input);
    return st;
}

int enso__cuda_error(const struct enso__cuda_call *call, struct enso_error *err,
                     enum enso_status status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int st = enso__op_verror(call->bound->op, call->bound->node, err, status, format, args);
    va_end(args);
    return st;
}

int enso__cuda_launched(const struct enso__cuda_call *call, int code, struct enso_error *err)
{
    if (code == cudaSuccess)
        return ENSO_OK;
    char what[128];

    snprintf(what, sizeof(what), "%s '%s'", enso_op_name(call->bound->op), call->bound->node);
    return enso__cuda_failed(call->bound->device, code, what, err);
}
