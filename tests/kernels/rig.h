/* SPDX-License-Identifier: Apache-2.0
 *
 * One operator on the bench: a graph of one node is inferred, bound to the CPU backend and run,
 * with every tensor ending at a guard page. Used by all tests of kernels.
 *
 * With ENSO_TEST_BACKEND=/path/to/ensod-cuda.so (or its emulated twin) in the environment the
 * module's backend is used instead: the same tests, the same references, other kernels. Then there
 * is one instruction set, called "cuda", and inputs and outputs live in device memory of exactly
 * their size. Cases that a GPU refuses by design ask rig_on_gpu().
 *
 *     struct rig r;
 *     rig_init(&r, "avx2", 2);
 *     rig_input(&r, ENSO_DTYPE_F32, 2, (int64_t[]){3, 4}, x);      (copied)
 *     rig_constant(&r, ENSO_DTYPE_I64, 1, (int64_t[]){1}, axes);
 *     rig_node(&r, ENSO_OP_REDUCE_SUM, 1);
 *     enso_graph_set_int(r.graph, r.node, "keepdims", 0);
 *     rig_run(&r);                       (fails the test with the error's sentence)
 *     const float *y = r.outputs[0].data;
 *     rig_done(&r);
 */
#ifndef ENSO_TESTS_KERNELS_RIG_H
#define ENSO_TESTS_KERNELS_RIG_H

#include "engine/backend.h"
#include "tests/support/support.h"

#define RIG_MAX 16

/* Dimensions: DIMS(2, 3). */
#define DIMS(...)                                                                                  \
    (const int64_t[])                                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

struct rig {
    struct enso_graph *graph;
    int node;
    struct enso_device *device;
    struct enso_bound *bound;
    struct enso_lane *lane;
    struct enso_error err;
    size_t n_inputs, n_outputs;
    bool in_place;               /* set before running: output 0 is input 0's memory */
    struct enso_extents extents; /* of rig_batch_input */
    int values[RIG_MAX];
    struct enso_tensor inputs[RIG_MAX], outputs[RIG_MAX];
    void *on_device[2 * RIG_MAX]; /* GPU: inputs' and outputs' device memory while a run lasts */
};

/* The backend under test, and (ENSO_TEST_BACKEND) its module's entry. */
const struct enso_backend *rig_backend(void);
enso_backend_entry_fn rig_entry(void);
bool rig_on_gpu(void);
/* Whether the backend computes an operator in a type: the processor does in no halves, a T4 in no
 * BF16. Asked once, since opening a card takes a while. */
bool rig_computes(enum enso_op op, enum enso_dtype dtype);
/* Instruction sets this processor has, NULL at the end. */
const char *const *rig_sets(void);

/* rig_init must succeed; rig_try_init tells. rig_done in either case. */
int rig_try_init(struct rig *r, const char *isa, unsigned n_threads);
void rig_init(struct rig *r, const char *isa, unsigned n_threads);
void rig_input(struct rig *r, enum enso_dtype dtype, size_t rank, const int64_t *dims,
               const void *data);
/* Dimension `axis` is the batch: the graph knows it as N, and N is dims[axis]. */
void rig_batch_input(struct rig *r, enum enso_dtype dtype, size_t rank, const int64_t *dims,
                     size_t axis, const void *data);
void rig_constant(struct rig *r, enum enso_dtype dtype, size_t rank, const int64_t *dims,
                  const void *data);
void rig_absent(struct rig *r);
void rig_node(struct rig *r, enum enso_op op, size_t n_outputs);

/* Infer and bind; the status of the first that fails, the sentence in r->err. */
int rig_try_bind(struct rig *r);
/* And run. */
int rig_try_run(struct rig *r);
/* Must succeed. May be called again (with other data in r->inputs). */
void rig_run(struct rig *r);
void rig_done(struct rig *r);

/* Repeatable numbers: floats of about [-1, 1). */
void rig_random(float *x, size_t n, unsigned seed);
float *rig_random_new(size_t n, unsigned seed); /* free() */
double *rig_doubles_new(size_t n);              /* zeros; free() */

/* Floats to F32, F16 or BF16 and back. */
void rig_narrow(enum enso_dtype dtype, const float *x, void *y, size_t n);
void *rig_narrow_new(enum enso_dtype dtype, const float *x, size_t n); /* free() */
void rig_widen(enum enso_dtype dtype, const void *x, float *y, size_t n);
/* Output 0, of one of these types, as floats; free(). */
float *rig_result_new(const struct rig *r);

/* |got - want| <= absolute + relative · |want|, NaN equals NaN; names `what` and the index. */
void rig_near(const char *what, const float *got, const double *want, size_t n, double absolute,
              double relative);

/* The main of programs that have nothing to ask of the processor, which computes in no halves. */
int rig_main_of_halves(Suite *(*make_suite)(void));

#endif
