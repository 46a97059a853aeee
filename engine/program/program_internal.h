/* SPDX-License-Identifier: Apache-2.0
 *
 * What program, plan and context share: the bound form of a graph.
 */
#ifndef ENSO_ENGINE_PROGRAM_PROGRAM_INTERNAL_H
#define ENSO_ENGINE_PROGRAM_PROGRAM_INTERNAL_H

#include <stdatomic.h>

#include "base/memory.h"
#include "engine/program/plan.h"
#include "engine/program/program.h"

#define ENSO__ALIGNMENT 64 /* of every place in an arena */

enum enso__origin {
    ENSO__COMPUTED,
    ENSO__INPUT,
    ENSO__CONSTANT, /* on the device because some kernel does not pack it, or it is an output */
    ENSO__PACKED,   /* inside bound nodes only */
};

struct enso__program_value {
    const char *name;
    enum enso__origin origin;
    enum enso_dtype dtype;
    struct enso_shape shape;
    int root;      /* the value whose memory it shares; itself unless a view */
    size_t offset; /* constants: in the program's constant memory */
    bool pixels;   /* an F32 input that only PIXELS reads: a batch may bring it as bytes */
    bool planes;   /* which is [N, C, H, W] as floats */
};

struct enso_program {
    atomic_int n_refs;
    const struct enso_backend *backend;
    struct enso_device *device;
    struct enso_arena arena; /* names and arrays */
    const char *name;
    struct enso__program_value *values;
    size_t n_values;
    struct enso_step *steps;
    enum enso_op *ops; /* [n_steps] */
    const char **step_names;
    size_t n_steps;
    struct enso_bound **bounds; /* [n_steps]; the first n_bounds are bound */
    size_t n_bounds;
    struct enso_program_io *inputs, *outputs;
    int *input_values, *output_values;
    size_t n_inputs, n_outputs;
    void *constants; /* device memory */
    uint64_t weight_bytes;
    bool uses[ENSO_N_EXTENTS];
    bool batched, batch_invariant;
};

/* One piece of memory with a life in steps: first <= step <= last, both included. An input lives
 * from step 0; an output to step n_steps. */
struct enso__storage {
    size_t size_bytes, offset;
    size_t first, last;
    bool output; /* of the program: its place is in a slot's outputs block, not in the arena */
};

/* Give every storage that is no output an offset (a multiple of ENSO__ALIGNMENT) such that storages
 * alive at the same time do not overlap; largest first, each into the smallest gap that holds it.
 * Sizes are rounded up by this. ENSO_TOO_LARGE when the total overflows, ENSO_NO_MEMORY. */
int enso__arena_place(struct enso__storage *storages, size_t n, size_t *ret_total,
                      struct enso_error *err);

struct enso_plan {
    struct enso_program *program;
    struct enso_extents capacity;
    struct enso__storage *storages;
    size_t n_storages;
    int *storage_of;     /* per program value: storage, or -1 (an input, a constant) */
    size_t arena_bytes;  /* of storages that are no outputs */
    size_t input_bytes;  /* of a slot's block of inputs, each aligned */
    size_t output_bytes; /* of a slot's block of outputs, the backend's report before them */
    size_t report_bytes;
    size_t workspace_bytes;
};

/* Device memory for `what` of the program, promised_bytes of it promised; failures name both. */
int enso__program_alloc(const struct enso_program *program, const char *what, size_t size_bytes,
                        size_t promised_bytes, void **ret_memory,
                        struct enso_error *err) ENSO_MUST_CHECK;

/* Rounded up to ENSO__ALIGNMENT; SIZE_MAX when that overflows. */
static inline size_t enso__aligned(size_t size_bytes)
{
    return size_bytes > SIZE_MAX - ENSO__ALIGNMENT
               ? SIZE_MAX
               : (size_bytes + ENSO__ALIGNMENT - 1) & ~(size_t)(ENSO__ALIGNMENT - 1);
}

/* Dims of a value for a batch; false on overflow. */
bool enso__value_tensor(const struct enso__program_value *v, const struct enso_extents *e,
                        struct enso_tensor *ret_tensor);

#endif
