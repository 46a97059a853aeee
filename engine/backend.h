/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract between engine and kernels: what a kind of device (CPU, GPU) must bring. The engine
 * owns this file, kernels/ fill it in; it is the one place where a lower floor includes a higher.
 * A backend in a module of its own (dlopen) exports `const struct enso_backend *enso_backend_entry
 * (const struct enso_host *host)` and is refused unless abi matches.
 *
 * Life: device_open once → for every program node bind (choose a kernel, pack its weights once) →
 * lane_open per lane → run any number of batches (one at a time per lane) → close in reverse.
 * Threads: bind/unbind run on the loader thread while lanes run; run is called by the lane's own
 * thread only. Nothing here holds pointers into requests.
 */
#ifndef ENSO_ENGINE_BACKEND_H
#define ENSO_ENGINE_BACKEND_H

#include "base/error.h"
#include "engine/graph/graph.h"
#include "engine/ops/ops.h"
#include "engine/tensor.h"

#define ENSO_BACKEND_ABI 3

struct enso_host;   /* engine/host.h: what a module may call */
struct enso_device; /* a backend's own */
struct enso_bound;  /* a node bound to its kernel with packed weights; a backend's own */
struct enso_lane;   /* per-lane state: thread team, stream; a backend's own */

struct enso_device_options {
    const char *name;      /* "cpu", "cuda:0" */
    unsigned n_threads;    /* CPU: size of a lane's team; 0 = min(affinity, ceil(cpu.max)) */
    const char *isa;       /* CPU: "auto", "generic", "avx2" */
    const char *cublaslt;  /* GPU: path of the library, "none"; NULL, "": look for it */
    const char *state_dir; /* GPU: folder of what was timed by tune; NULL, "": none */
};

struct enso_device_info {
    char name[64];         /* "cpu", "cuda:0" */
    char description[128]; /* "AVX2+FMA, 2 threads", the card's name */
    unsigned n_threads;
    bool batch_invariant; /* a row's bits do not depend on what it is batched with, even when the
                             graph does not ask for it */
};

/* One step of a plan: a bound node and where its tensors stand in the run's tensor array. */
struct enso_step {
    const struct enso_bound *bound;
    const int *inputs, *outputs; /* indices into tensors, or ENSO_NO_VALUE */
    uint16_t n_inputs, n_outputs;
};

/* One batch to run. */
struct enso_run {
    const struct enso_step *steps;
    size_t n_steps;
    struct enso_tensor *tensors; /* by value number: dims of this batch, data in device memory.
                                    Constants that a bound node packed have data NULL. */
    const struct enso_extents *extents;
    void *workspace; /* device memory, at least the largest workspace_bytes; 64-byte aligned */
};

/* A product that was timed for so many rows: act(X[rows, k] · W[k, n] + bias + residual). */
struct enso_tuned {
    size_t rows, n, k;
    enum enso_dtype dtype;
    enum enso_activation activation;
    bool bias, residual;
    float own_us, first_us, best_us; /* our own kernel, what the heuristic chose, the fastest */
    bool own;                        /* the fastest is our own */
};

struct enso_tuning {
    size_t max_rows; /* about the most that a batch has */
    void (*report)(void *context, const struct enso_tuned *tuned); /* after each */
    void *context;
};

struct enso_backend {
    uint32_t abi; /* ENSO_BACKEND_ABI */
    const char *name;

    int (*device_open)(const struct enso_device_options *options, struct enso_device **ret_device,
                       struct enso_error *err);
    void (*device_close)(struct enso_device *device); /* NULL is fine */
    void (*device_info)(const struct enso_device *device, struct enso_device_info *ret_info);

    /* Device memory for arenas, aligned to 64 bytes or more; NULL when there is none. */
    void *(*memory_alloc)(struct enso_device *device, size_t size_bytes);
    void (*memory_free)(struct enso_device *device, void *memory);
    /* Free and total bytes of the device's memory, for messages; NULL: it is ordinary memory. */
    void (*memory_info)(struct enso_device *device, size_t *ret_free, size_t *ret_total);
    /* Copies between host and device memory, ordered with the lane's runs. */
    int (*upload)(struct enso_lane *lane, void *dst, const void *src, size_t size_bytes,
                  struct enso_error *err);
    int (*download)(struct enso_lane *lane, void *dst, const void *src, size_t size_bytes,
                    struct enso_error *err);
    bool host_memory; /* device memory is ordinary memory: copies may be left out */

    /* Choose a kernel for a node whose values all have type and shape, read and pack its constant
     * inputs. ENSO_UNSUPPORTED names operator, types and node. Reads constants through
     * enso_constant_read in slices; keeps no pointer into the graph. */
    int (*bind)(struct enso_device *device, const struct enso_graph *graph, int node,
                struct enso_bound **ret_bound, struct enso_error *err);
    void (*unbind)(struct enso_device *device, struct enso_bound *bound); /* NULL is fine */
    size_t (*bound_bytes)(const struct enso_bound *bound); /* memory it holds for weights */
    /* True when bind took this constant input into the bound node: run never reads its data, which
     * need not be on the device (unless another node reads it). */
    bool (*packs)(const struct enso_bound *bound, size_t input);
    /* Scratch memory for a step whose tensors have at most these dims (data not set). */
    size_t (*workspace_bytes)(const struct enso_bound *bound, const struct enso_step *step,
                              const struct enso_tensor *tensors);

    int (*lane_open)(struct enso_device *device, struct enso_lane **ret_lane,
                     struct enso_error *err);
    void (*lane_close)(struct enso_lane *lane); /* NULL is fine */
    int (*run)(struct enso_lane *lane, const struct enso_run *run, struct enso_error *err);

    /* Does the device compute that operator on activations of that type (F32, F16 or BF16; of other
     * types bind tells)? Any thread. What it promises bind keeps, but for attributes and shapes
     * that no type would help. A model is brought to lower precision by these answers. */
    bool (*computes)(const struct enso_device *device, enum enso_op op, enum enso_dtype dtype);

    /* NULL: nothing to choose. Time what can compute the products of the programs that are bound,
     * and keep what was fastest for later starts (options.state_dir). The device does nothing else
     * meanwhile. */
    int (*tune)(struct enso_device *device, const struct enso_tuning *how, struct enso_error *err);
};

/* What a module exports under the name enso_backend_entry; NULL when it was built for another ABI.
 * The table and what it points to live as long as the process. */
typedef const struct enso_backend *(*enso_backend_entry_fn)(const struct enso_host *host);

/* The CPU backend (kernels/cpu/backend.c): built in, constant, never NULL. */
const struct enso_backend *enso_backend_cpu(void);

#endif
