/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared inside kernels/cuda/, host side: what a bound node is, how a run function gets at its
 * tensors and its stream. One file per family of operators brings `enso__cuda_bind_<family>`; the
 * table in families.c says which operator goes where. Kernels and their launchers are in *.cu, the
 * launchers' prototypes in launch.h.
 *
 * Life of a node: bind reads attributes and constant inputs of the graph into a struct that begins
 * with struct enso_bound, weights into device memory (loader thread, once); run reads only that
 * struct and the dims of the call's tensors, and puts launches on the call's stream (lane's thread,
 * any number of times, allocates nothing, waits for nothing). A tensor's data is device memory: no
 * host code ever looks into it. Shapes are those of the tensors at run time: bind must not keep
 * any. Run checks what memory safety rests on and reports mismatches as ENSO_INTERNAL; content that
 * kernels cannot accept (an index out of range) they note in the call's fault word.
 */
#ifndef ENSO_KERNELS_CUDA_INTERNAL_H
#define ENSO_KERNELS_CUDA_INTERNAL_H

#include <cuda_runtime_api.h>

#include "base/memory.h"
#include "engine/backend.h"
#include "kernels/cuda/launch.h"
#include "kernels/nodes/node.h"

struct enso__cublaslt_lane;

/* What a run function gets for one step of one batch. */
struct enso__cuda_call {
    const struct enso_bound *bound;
    const struct enso_step *step;
    struct enso_tensor *tensors;
    cudaStream_t stream;
    unsigned char *workspace; /* device memory: what the node's workspace function asked for */
    struct enso__cublaslt_lane *cublaslt; /* cublaslt.h; NULL: none */
    int *fault; /* device memory, 0 before the step: kernels put an enum enso_cuda_fault there */
};

typedef int (*enso__cuda_run_fn)(const struct enso__cuda_call *call, struct enso_error *err);
typedef size_t (*enso__cuda_workspace_fn)(const struct enso_bound *bound,
                                          const struct enso_step *step,
                                          const struct enso_tensor *tensors);
typedef int (*enso__cuda_bind_fn)(const struct enso__bind *b, struct enso_bound **ret_bound,
                                  struct enso_error *err);

struct enso_bound {
    enum enso_op op;
    char node[80]; /* name for messages, cut */
    struct enso_device *device;
    uint32_t packed; /* bit i: constant input i was taken in, its tensor is never read */
    size_t bytes;    /* held for weights and parameters, device memory included */
    enso__cuda_run_fn run;
    enso__cuda_workspace_fn workspace;         /* NULL: none */
    void (*release)(struct enso_bound *bound); /* frees what it holds, not itself; NULL: nothing */
};

/* A zeroed struct of size_bytes that begins with struct enso_bound, its common part filled in. */
void *enso__cuda_bound_new(const struct enso__bind *b, size_t size_bytes, enso__cuda_run_fn run,
                           struct enso_error *err) ENSO_MUST_CHECK;
/* What unbind does; NULL is fine. For bind functions that fail half-way. */
void enso__cuda_bound_free(struct enso_bound *bound);

/* Device memory for weights, aligned to 256 bytes, owned by the caller; part of the program that
 * this thread loads, if it loads one (memory.c). enso__cuda_free(device, NULL) is fine.
 * ENSO_NO_MEMORY says what `what` needs and what the card has. */
int enso__cuda_alloc(struct enso_device *device, size_t size_bytes, const char *what,
                     void **ret_memory, struct enso_error *err) ENSO_MUST_CHECK;
/* The same for what a lane keeps for itself. */
int enso__cuda_alloc_for_lane(struct enso_device *device, size_t size_bytes, void **ret_memory,
                              struct enso_error *err) ENSO_MUST_CHECK;
void enso__cuda_free(struct enso_device *device, void *memory);
/* Pinned memory of the host. */
int enso__cuda_staging_alloc(struct enso_device *device, size_t size_bytes, const char *what,
                             void **ret_memory, struct enso_error *err) ENSO_MUST_CHECK;
void enso__cuda_staging_free(struct enso_device *device, void *memory);
/* Copy ordinary memory up and wait for it; for bind functions. */
int enso__cuda_upload(struct enso_device *device, void *dst, const void *src, size_t size_bytes,
                      struct enso_error *err) ENSO_MUST_CHECK;

/* Input i when it is a constant: its elements as floats (any type) in device memory, padded with
 * zeros to a multiple of `pad` elements (at least 1); the caller's to enso__cuda_free. ENSO_OK with
 * *ret_device NULL when it is absent or no constant. Add what it takes to bound->bytes. */
int enso__cuda_constant(const struct enso__bind *b, size_t i, size_t pad, float **ret_device,
                        size_t *ret_n, struct enso_error *err) ENSO_MUST_CHECK;
/* The same for floats made from constants at bind. */
int enso__cuda_floats(const struct enso__bind *b, const float *data, size_t n, float **ret_device,
                      struct enso_error *err) ENSO_MUST_CHECK;

/* Integers that the node takes from an attribute or a constant; ENSO_UNSUPPORTED when they would be
 * known only at run time, in device memory (see enso__ints_bind). */
int enso__cuda_ints(const struct enso__bind *b, size_t input, const char *attribute,
                    struct enso__ints *ret, struct enso_error *err) ENSO_MUST_CHECK;

/* F32, F16 and BF16: what kernels compute in F32. */
static inline bool enso__cuda_is_float(enum enso_dtype dtype)
{
    return dtype == ENSO_DTYPE_F32 || enso_dtype_is_half(dtype);
}

/* Input i can be taken as floats: a constant of any type, or a tensor that is F32. */
static inline bool enso__cuda_is_parameter(const struct enso__bind *b, size_t i)
{
    const struct enso_value *v = enso__bind_input(b, i);

    return v != NULL && (v->constant != NULL || v->dtype == ENSO_DTYPE_F32);
}

/* A failure of a run: "Add 'name': ..." */
int enso__cuda_error(const struct enso__cuda_call *call, struct enso_error *err,
                     enum enso_status status, const char *format, ...) ENSO_PRINTF(4, 5);
/* What a launcher returned (a cudaError_t) as a status with a sentence that names operator and
 * node; ENSO_OK for cudaSuccess. */
int enso__cuda_launched(const struct enso__cuda_call *call, int code, struct enso_error *err);

/* Tensors of a call; NULL when absent. */
static inline const struct enso_tensor *enso__cuda_in(const struct enso__cuda_call *call, size_t i)
{
    if (i >= call->step->n_inputs || call->step->inputs[i] < 0)
        return NULL;
    return &call->tensors[call->step->inputs[i]];
}

static inline struct enso_tensor *enso__cuda_out(const struct enso__cuda_call *call, size_t i)
{
    if (i >= call->step->n_outputs || call->step->outputs[i] < 0)
        return NULL;
    return &call->tensors[call->step->outputs[i]];
}

/* The family that binds an operator; NULL: the module has no kernel for it. */
enso__cuda_bind_fn enso__cuda_family(enum enso_op op);
/* The backend's answer to "does the device compute this operator on activations of that type". */
bool enso__cuda_computes(const struct enso_device *device, enum enso_op op, enum enso_dtype dtype);

/* Families. */
#define ENSO__CUDA_FAMILY(name)                                                                    \
    int enso__cuda_bind_##name(const struct enso__bind *b, struct enso_bound **ret,                \
                               struct enso_error *err)
ENSO__CUDA_FAMILY(unary);
ENSO__CUDA_FAMILY(cast);
ENSO__CUDA_FAMILY(binary);
ENSO__CUDA_FAMILY(where);
ENSO__CUDA_FAMILY(reduce);
ENSO__CUDA_FAMILY(arg);
ENSO__CUDA_FAMILY(top_k);
ENSO__CUDA_FAMILY(copy);
ENSO__CUDA_FAMILY(shape);
ENSO__CUDA_FAMILY(fill);
ENSO__CUDA_FAMILY(range);
ENSO__CUDA_FAMILY(view);
ENSO__CUDA_FAMILY(join);
ENSO__CUDA_FAMILY(pad);
ENSO__CUDA_FAMILY(gather);
ENSO__CUDA_FAMILY(softmax);
ENSO__CUDA_FAMILY(channel_norm);
ENSO__CUDA_FAMILY(lrn);
ENSO__CUDA_FAMILY(row_norm);
ENSO__CUDA_FAMILY(pool);
ENSO__CUDA_FAMILY(resize);
ENSO__CUDA_FAMILY(conv);
ENSO__CUDA_FAMILY(conv_fused);
ENSO__CUDA_FAMILY(matmul);
ENSO__CUDA_FAMILY(gemm);
ENSO__CUDA_FAMILY(linear);
ENSO__CUDA_FAMILY(attention);
ENSO__CUDA_FAMILY(embedding);
ENSO__CUDA_FAMILY(sequence_pool);
ENSO__CUDA_FAMILY(pixels);
#undef ENSO__CUDA_FAMILY

#endif
