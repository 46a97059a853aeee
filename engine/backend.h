/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract between engine and kernels: what a kind of device (CPU, GPU) must bring. The engine
 * owns this file, kernels/ fill it in; it is the one place where a lower floor includes a higher.
 * A backend in a module of its own (dlopen) exports `const struct enso_backend *enso_backend_entry
 * (const struct enso_host *host)` and is refused unless abi and layout match (engine/host.h).
 *
 * Life: device_open once → for every program node bind (choose a kernel, pack its weights once) →
 * lane_open per lane → begin and finish any number of batches → close in reverse.
 * Threads: bind/unbind run on the loader thread while lanes run; begin, finish, done and run are
 * called by the lane's own thread only. Nothing here holds pointers into requests.
 *
 * Slots. A lane holds up to n_slots batches, each in a slot, and works them off in the order of
 * their begins:
 *
 *     begin(lane, 0, run_a)   copies up, puts the steps on the lane, returns
 *     begin(lane, 1, run_b)   behind it: its copy overlaps what computes
 *     finish(lane, 0)         sleeps until a is through
 *     begin(lane, 0, run_c)
 *     finish(lane, 1) ...
 *
 * A slot is free again when its finish returned, or when its begin failed. begin on a slot that is
 * not free, and finish on one that is, are mistakes of the caller.
 */
#ifndef ENSO_ENGINE_BACKEND_H
#define ENSO_ENGINE_BACKEND_H

#include "base/error.h"
#include "engine/graph/graph.h"
#include "engine/ops/ops.h"
#include "engine/tensor.h"

#define ENSO_BACKEND_ABI 5

#define ENSO_MAX_SLOTS 2 /* of a lane */

struct enso_host;     /* engine/host.h: what a module may call */
struct enso_device;   /* a backend's own */
struct enso_bound;    /* a node bound to its kernel with packed weights; a backend's own */
struct enso_lane;     /* per-lane state: thread team, stream; a backend's own */
struct enso_captures; /* a plan's launches as a lane has recorded them; a backend's own */

struct enso_device_options {
    const char *name;      /* "cpu", "cuda:0" */
    unsigned n_threads;    /* CPU: size of a lane's team; 0 = min(affinity, ceil(cpu.max)) */
    const char *isa;       /* CPU: "auto", "generic", "avx2" */
    unsigned hang_ms;      /* GPU: a batch that takes longer than this and twenty times what was
                              predicted means that the device is lost; 0 = 10 s */
    unsigned long_percent; /* GPU: a plan whose batches compute longer than so many percent of what
                              launching them takes is not recorded as a graph; 0 = 400 */
    /* GPU: most device memory to use; with memory_bytes 0 that share of what is free at the start
     * (0: all of it). */
    uint64_t memory_bytes;
    unsigned memory_percent;
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

/* Down is for good: nothing brings a device back for the life of the process. */
struct enso_device_state {
    bool down;
    char reason[256]; /* a sentence; "" while it works */
};

enum enso_throttle {
    ENSO_THROTTLE_POWER_CAP,
    ENSO_THROTTLE_SYNC_BOOST,
    ENSO_THROTTLE_SOFTWARE_THERMAL,
    ENSO_THROTTLE_HARDWARE_SLOWDOWN,
    ENSO_THROTTLE_HARDWARE_THERMAL,
    ENSO_THROTTLE_POWER_BRAKE,
    ENSO_N_THROTTLES
};

/* What a device tells about itself. A number that it does not tell is NAN, now and always. */
enum enso_product_origin {
    ENSO_PRODUCT_OWN,       /* our own kernels: the library has no algorithm, or was slower */
    ENSO_PRODUCT_HEURISTIC, /* the library's first choice */
    ENSO_PRODUCT_TIMED,     /* the library's fastest, by ensod --tune */
    ENSO_N_PRODUCT_ORIGINS
};
struct enso_device_metrics {
    /* Memory that the backend has given out, and the most that it may. */
    uint64_t weight_bytes, arena_bytes, lane_bytes, limit_bytes;
    uint64_t n_allocations;         /* of the driver, that make up the first three */
    double idle_bytes;              /* had from the card, given to nobody */
    double free_bytes, total_bytes; /* of the card; what is missing belongs to others */
    double busy, memory_busy;       /* share of the last moments in which it, its memory worked */
    double temperature_celsius, power_watts;
    double compute_clock_hertz, memory_clock_hertz;
    double throttled[ENSO_N_THROTTLES]; /* 0 or 1: its clocks are held down for that reason */
    double ecc_uncorrected;             /* errors since the driver was loaded */
    /* Sizes of products with constant weights that a library was asked about, by who computes them
     * and why; zeros without one. */
    uint64_t n_products[ENSO_N_PRODUCT_ORIGINS];
};

/* One step of a plan: a bound node and where its tensors stand in the run's tensor array. */
struct enso_step {
    const struct enso_bound *bound;
    const int *inputs, *outputs; /* indices into tensors, or ENSO_NO_VALUE */
    uint16_t n_inputs, n_outputs;
};

/* A block of a batch and its twin on the device; size_bytes 0: there is nothing to copy. */
struct enso_copy {
    void *host; /* from staging_alloc */
    void *device;
    size_t size_bytes;
};

/* What a batch took. */
struct enso_spent {
    uint64_t compute_ns;       /* of the device alone; 0: the caller's clock is right */
    uint64_t n_padding_tokens; /* computed, that belong to no sequence */
};

/* When a batch should be through, as far as its caller knows; zeros: it does not. */
struct enso_pace {
    uint64_t predicted_ns; /* of computing, alone on the device */
    uint64_t expected_ns;  /* when it should be done, by the monotonic clock */
};

/* One batch to run. The struct is read by begin only; what steps, tensors and captures point to,
 * and all memory, stays as it is until finish. */
struct enso_run {
    const struct enso_step *steps;
    size_t n_steps;
    struct enso_tensor *tensors; /* by value number: dims of this batch, data in device memory.
                                    Constants that a bound node packed have data NULL. */
    const struct enso_extents *extents;
    void *workspace; /* device memory, at least the largest workspace_bytes; 64-byte aligned */

    /* The batch's record: all inputs in one block, which goes up before the first step, all wanted
     * outputs in another, which comes down after the last. The first report_bytes(n_steps) of
     * `down` are the backend's own. On a device with host_memory both are empty. */
    struct enso_copy up, down;

    struct enso_pace pace;

    /* Where this plan's recorded launches are kept for this lane: *captures is NULL at first, the
     * backend puts its own there, and captures_free takes them back before any memory of the plan
     * moves. `shape` tells runs apart that differ in more than their extents (which outputs are
     * wanted, in which form pictures come). NULL: never record. */
    struct enso_captures **captures;
    uint64_t shape;

    int64_t n_padding_tokens; /* of extents->n_tokens, at the end: they belong to no sequence */
};

/* What a lane has done since it was opened; counters only rise. */
struct enso_lane_stats {
    uint64_t n_captures;                       /* graphs recorded */
    uint64_t n_graph_launches;                 /* batches that ran as a graph */
    uint64_t n_eager;                          /* batches whose steps were launched one by one */
    uint64_t n_input_tokens, n_padding_tokens; /* computed; padding belongs to no sequence */
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
    size_t max_tokens, max_items; /* about the most that a batch has */
    void (*report)(void *context, const struct enso_tuned *tuned); /* after each */
    void *context;
};

struct enso_backend {
    uint32_t abi;    /* ENSO_BACKEND_ABI */
    uint32_t layout; /* ENSO_BACKEND_LAYOUT */
    const char *name;

    int (*device_open)(const struct enso_device_options *options, struct enso_device **ret_device,
                       struct enso_error *err);
    void (*device_close)(struct enso_device *device); /* NULL is fine */
    void (*device_info)(const struct enso_device *device, struct enso_device_info *ret_info);

    /* Device memory for arenas, aligned to 64 bytes or more. `what` is for the sentence: "the
     * constants of 'bert'". ENSO_NO_MEMORY when there is none, with the device's numbers where it
     * has some; another status when the device cannot be asked. */
    int (*memory_alloc)(struct enso_device *device, size_t size_bytes, const char *what,
                        void **ret_memory, struct enso_error *err);
    void (*memory_free)(struct enso_device *device, void *memory); /* NULL is fine */
    /* Ordinary memory for a batch's record, from which the device copies by itself (pinned),
     * aligned to 64 bytes or more. Both NULL where host_memory is true. */
    int (*staging_alloc)(struct enso_device *device, size_t size_bytes, const char *what,
                         void **ret_memory, struct enso_error *err);
    void (*staging_free)(struct enso_device *device, void *memory); /* NULL is fine */
    /* Device memory that is kept for later, all three or none (NULL). Between promise and
     * promise_end of as many bytes, whatever else is taken of the device - arenas, weights,
     * recorded launches - leaves them free. promised_alloc is memory_alloc that takes
     * promised_bytes of its size_bytes out of what was promised, until memory_free puts them back:
     * that part is there. The caller takes no more than it was promised. promise: ENSO_NO_MEMORY.
     * Any thread. */
    int (*promise)(struct enso_device *device, size_t size_bytes, const char *what,
                   struct enso_error *err);
    void (*promise_end)(struct enso_device *device, size_t size_bytes);
    int (*promised_alloc)(struct enso_device *device, size_t size_bytes, size_t promised_bytes,
                          const char *what, void **ret_memory, struct enso_error *err);
    /* Free bytes of the device's memory that are promised to nobody, and all of it; NULL: it is
     * ordinary memory. */
    void (*memory_info)(struct enso_device *device, size_t *ret_free, size_t *ret_total);
    /* Copies between host and device memory, ordered with the lane's batches; download waits for
     * all of them. For what is not part of a batch. */
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

    unsigned n_slots; /* batches that a lane holds at a time, 1 .. ENSO_MAX_SLOTS */
    /* Bytes at the head of a run's `down` block that the backend fills with what it has to tell
     * about so many steps, a multiple of 64. NULL: none. */
    size_t (*report_bytes)(size_t n_steps);
    /* Copy up, put all steps on the lane, have the outputs copied down; does not wait. When it
     * fails nothing of the batch is on the lane any more. */
    int (*begin)(struct enso_lane *lane, unsigned slot, const struct enso_run *run,
                 struct enso_error *err);
    /* Sleep until the slot's batch is through; its outputs are in down.host. Failures of the device
     * and of the steps' content (an index out of range: ENSO_INVALID) are told here.
     * *ret_compute_ns (may be NULL) is how long the batch kept the device, without the time that it
     * stood behind others; 0: not known, the caller's clock is right. */
    int (*finish)(struct enso_lane *lane, unsigned slot, uint64_t *ret_compute_ns,
                  struct enso_error *err);
    /* Whether finish would not sleep. */
    bool (*done)(struct enso_lane *lane, unsigned slot);
    /* Sleep until all that is on the lane is through; results stay for finish. NULL: nothing ever
     * is after begin. */
    int (*drain)(struct enso_lane *lane, struct enso_error *err);
    /* begin and finish in slot 0, which must be free. */
    int (*run)(struct enso_lane *lane, const struct enso_run *run, struct enso_error *err);

    /* Does the device compute that operator on activations of that type (F32, F16 or BF16; of other
     * types bind tells)? Any thread. What it promises bind keeps, but for attributes and shapes
     * that no type would help. A model is brought to lower precision by these answers. */
    bool (*computes)(const struct enso_device *device, enum enso_op op, enum enso_dtype dtype);
    /* Round a batch up to a size that is worth recording, at most the plan's capacity. NULL: every
     * size is as good. */
    void (*round_up)(const struct enso_captures *captures, const struct enso_extents *capacity,
                     struct enso_extents *extents);
    void (*captures_free)(struct enso_device *device, struct enso_captures *captures);
    /* From any thread. NULL: there is nothing to tell. */
    void (*lane_stats)(const struct enso_lane *lane, struct enso_lane_stats *ret_stats);

    /* Both or neither (NULL). A program is bound between the two, on one thread: what bind and
     * memory_alloc of that thread take meanwhile lies together, in few pieces that serve no other
     * program, and the device has it back when the last of it was freed. begin: ENSO_NO_MEMORY,
     * with both sizes, when the device has less left than least_bytes, which the program will take
     * at least. end follows every begin that succeeded, whatever came of the program. */
    int (*program_begin)(struct enso_device *device, size_t least_bytes, struct enso_error *err);
    void (*program_end)(struct enso_device *device);
    /* NULL: a device that cannot be lost. Any thread; an atomic read, waits for nothing. */
    void (*device_state)(struct enso_device *device, struct enso_device_state *ret_state);
    /* NULL: nothing to tell. Any thread; what was read at most some seconds ago, waits for nothing.
     */
    void (*device_metrics)(struct enso_device *device, struct enso_device_metrics *ret_metrics);

    /* NULL: nothing to choose. Time what can compute the products of the programs that are bound,
     * and keep what was fastest for later starts (options.state_dir). The device does nothing else
     * meanwhile. */
    int (*tune)(struct enso_device *device, const struct enso_tuning *how, struct enso_error *err);
};

/* Sizes of all that daemon and module hand to each other, in one number: a module that was built
 * beside other headers is refused even if somebody forgot to count ENSO_BACKEND_ABI up. */
#define ENSO_BACKEND_LAYOUT                                                                        \
    ((uint32_t)(sizeof(struct enso_backend) + 1009 * sizeof(struct enso_run) +                     \
                2003 * sizeof(struct enso_step) + 3001 * sizeof(struct enso_tensor) +              \
                4001 * sizeof(struct enso_device_options) +                                        \
                5003 * sizeof(struct enso_device_info) + 6007 * sizeof(struct enso_lane_stats) +   \
                12007 * sizeof(struct enso_device_state) +                                         \
                13001 * sizeof(struct enso_device_metrics) + 14009 * sizeof(struct enso_tuned) +   \
                15013 * sizeof(struct enso_tuning) + 7001 * sizeof(struct enso_error) +            \
                8009 * sizeof(struct enso_node) + 9001 * sizeof(struct enso_value) +               \
                10007 * sizeof(struct enso_constant) + 11003 * ENSO_N_OPS))

/* What a module exports under the name enso_backend_entry; NULL when it was built for another ABI.
 * The table and what it points to live as long as the process. */
typedef const struct enso_backend *(*enso_backend_entry_fn)(const struct enso_host *host);

/* The CPU backend (kernels/cpu/backend.c): built in, constant, never NULL. */
const struct enso_backend *enso_backend_cpu(void);

#endif
