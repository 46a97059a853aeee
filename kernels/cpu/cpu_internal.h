/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared inside kernels/cpu/: what a bound node is, how a kernel gets at its tensors, how it uses
 * the team. What does not depend on the device (attributes, constants, shapes) is in
 * kernels/nodes. One file per family of operators brings `enso__bind_<family>`; the table in
 * backend.c says which operator goes where.
 *
 * Life of a node: bind reads attributes and constant inputs of the graph into a struct that begins
 * with struct enso_bound (loader thread, once); run reads only that struct and the tensors of the
 * call (lane's thread, any number of times, allocates nothing). Shapes are those of the tensors at
 * run time: bind must not keep any. Run checks what memory safety rests on and reports mismatches
 * as ENSO_INTERNAL, content it cannot accept (an index out of range) as ENSO_INVALID.
 */
#ifndef ENSO_KERNELS_CPU_INTERNAL_H
#define ENSO_KERNELS_CPU_INTERNAL_H

#include "base/memory.h"
#include "engine/backend.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/team.h"
#include "kernels/nodes/node.h"

struct enso_device {
    char name[64];
    unsigned n_threads;
    const struct enso_kernels *kernels;
};

/* What a kernel gets for one step of one batch. */
struct enso__call {
    const struct enso_bound *bound;
    const struct enso_step *step;
    struct enso_tensor *tensors;
    struct enso_team *team;
    unsigned char *workspace; /* as many bytes as the node's workspace function asked for */
};

typedef int (*enso__run_fn)(const struct enso__call *call, struct enso_error *err);
typedef size_t (*enso__workspace_fn)(const struct enso_bound *bound, const struct enso_step *step,
                                     const struct enso_tensor *tensors);

struct enso_bound {
    enum enso_op op;
    char node[80]; /* name for messages, cut */
    const struct enso_kernels *kernels;
    unsigned n_threads; /* of every lane's team: per-thread scratch is counted by it */
    uint32_t packed;    /* bit i: constant input i was taken in, its tensor is never read */
    size_t bytes;       /* held for weights and parameters */
    enso__run_fn run;
    enso__workspace_fn workspace;              /* NULL: none */
    void (*release)(struct enso_bound *bound); /* frees what it holds, not itself; NULL: nothing */
};

typedef int (*enso__bind_fn)(const struct enso__bind *b, struct enso_bound **ret_bound,
                             struct enso_error *err);

/* A zeroed struct of size_bytes that begins with struct enso_bound, its common part filled in. */
void *enso__bound_new(const struct enso__bind *b, size_t size_bytes, enso__run_fn run,
                      struct enso_error *err) ENSO_MUST_CHECK;
/* What unbind does; NULL is fine. For bind functions that fail half-way. */
void enso__bound_free(struct enso_bound *bound);
/* A failure of a run: "Add 'name': ..." */
int enso__run_error(const struct enso__call *call, struct enso_error *err, enum enso_status status,
                    const char *format, ...) ENSO_PRINTF(4, 5);

/* *ret_v is borrowed (`storage` or the bound struct's). */
int enso__ints_get(const struct enso__call *call, const struct enso__ints *ints,
                   struct enso__ints *storage, const struct enso__ints **ret_ints,
                   struct enso_error *err);

/* Tensors of a call; NULL when absent. */
static inline const struct enso_tensor *enso__in(const struct enso__call *call, size_t i)
{
    if (i >= call->step->n_inputs || call->step->inputs[i] < 0)
        return NULL;
    return &call->tensors[call->step->inputs[i]];
}

static inline struct enso_tensor *enso__out(const struct enso__call *call, size_t i)
{
    if (i >= call->step->n_outputs || call->step->outputs[i] < 0)
        return NULL;
    return &call->tensors[call->step->outputs[i]];
}

/* Share [0, n) over the team; one item costs about `cost` multiplications or bytes moved. Small
 * work stays on the caller. */
void enso__parallel(const struct enso__call *call, size_t n, size_t cost, enso_team_fn fn,
                    void *arg);

/* Starts of a ragged batch (graph.h) are sound for n_tokens; the longest sequence. */
int enso__check_starts(const struct enso__call *call, const struct enso_tensor *starts,
                       int64_t n_tokens, size_t *ret_longest, struct enso_error *err);

/* Bytes up to the next multiple of a cache line. */
static inline size_t enso__align(size_t bytes)
{
    return (bytes + ENSO_CACHE_LINE - 1) & ~(size_t)(ENSO_CACHE_LINE - 1);
}

/* C[m, n] = epilogue(A[m, k] · B) with B packed (see struct enso_gemm); epilogue.bias padded to
 * whole panels. */
struct enso__product {
    const float *a, *panels;
    float *c;
    size_t lda, ldc, m, k, n;
    struct enso_epilogue epilogue;
};
/* Shared over the team. */
void enso__product_run(const struct enso__call *call, const struct enso__product *p);
/* All of it on the calling thread. */
void enso__product_single(const struct enso_kernels *kernels, const struct enso__product *p);

/* Pack a constant B of [n, k] (transposed) or [k, n] to panels, read in slices. *ret_panels is the
 * caller's to enso_free, *ret_bytes its size. */
int enso__pack_constant(const struct enso_kernels *kernels, const struct enso_constant *c,
                        bool transposed, size_t k, size_t n, float **ret_panels, size_t *ret_bytes,
                        struct enso_error *err);
/* Bytes of packed panels; SIZE_MAX when that does not fit. */
size_t enso__panel_bytes(size_t k, size_t n);
/* Pack B at run time, shared over the team. */
void enso__pack_run(const struct enso__call *call, const float *b, bool transposed, size_t k,
                    size_t n, float *panels);

/* Families. */
int enso__bind_unary(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_cast(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_binary(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_where(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_reduce(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_arg(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_top_k(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_copy(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_shape(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_fill(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_range(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_view(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_join(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_pad(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_gather(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_resize(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_softmax(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_channel_norm(const struct enso__bind *b, struct enso_bound **ret,
                            struct enso_error *err);
int enso__bind_lrn(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_row_norm(const struct enso__bind *b, struct enso_bound **ret,
                        struct enso_error *err);
int enso__bind_pool(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_conv(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_conv_fused(const struct enso__bind *b, struct enso_bound **ret,
                          struct enso_error *err);
int enso__bind_matmul(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_gemm(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_linear(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);
int enso__bind_attention(const struct enso__bind *b, struct enso_bound **ret,
                         struct enso_error *err);
int enso__bind_embedding(const struct enso__bind *b, struct enso_bound **ret,
                         struct enso_error *err);
int enso__bind_sequence_pool(const struct enso__bind *b, struct enso_bound **ret,
                             struct enso_error *err);
int enso__bind_pixels(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err);

#endif
