/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of options: see options.h.
 *
 * Environment names are chosen so that none collides with what Kubernetes sets for a service called
 * "ensod" (ENSOD_PORT, ENSOD_PORT_*, ENSOD_SERVICE_*); for the same reason unknown ENSOD_ variables
 * are not an error.
 */
#include "config/options.h"

#include <string.h>

#include "base/clock.h"
#include "config/config.h"
#include "config/config_internal.h"

static enum enso_status check_not_empty(const char *value, struct enso_error *err)
{
    if (*value != '\0')
        return ENSO_OK;
    return enso_error_set(err, ENSO_INVALID, "the value is empty");
}

static const struct enso_option_choice isa_choices[] = {
    {"auto", ENSO_CONFIG_ISA_AUTO},
    {"generic", ENSO_CONFIG_ISA_GENERIC},
    {"avx2", ENSO_CONFIG_ISA_AVX2},
    {NULL, 0},
};

static const struct enso_option_choice dtype_choices[] = {
    {"auto", ENSO_CONFIG_DTYPE_AUTO},
    {"fp32", ENSO_CONFIG_DTYPE_FP32},
    {"bf16", ENSO_CONFIG_DTYPE_BF16},
    {"fp16", ENSO_CONFIG_DTYPE_FP16},
    {NULL, 0},
};

static const struct enso_option_choice gelu_choices[] = {
    {"exact", ENSO_CONFIG_GELU_EXACT},
    {"fast", ENSO_CONFIG_GELU_FAST},
    {NULL, 0},
};

static const struct enso_option_choice lost_choices[] = {
    {"auto", ENSO_CONFIG_LOST_AUTO},
    {"exit", ENSO_CONFIG_LOST_EXIT},
    {"cpu", ENSO_CONFIG_LOST_CPU},
    {"stay", ENSO_CONFIG_LOST_STAY},
    {NULL, 0},
};

static const struct enso_option_choice level_choices[] = {
    {"error", ENSO_LOG_ERROR}, {"warning", ENSO_LOG_WARNING}, {"notice", ENSO_LOG_NOTICE},
    {"info", ENSO_LOG_INFO},   {"debug", ENSO_LOG_DEBUG},     {NULL, 0},
};

const struct enso_option_section enso_option_sections[] = {
    {"server", "Sockets, models and time limits of connections."},
    {"limits", "What a request may cost. Each limit is answered with its own status and sentence."},
    {"batching", "How samples become batches. Each key may be set for one model in its [model NAME]"
                 " section, too."},
    {"device",
     "Where models run, and in what arithmetic. The keys dtype and gelu may be set for one "
     "model in its [model NAME] section, too. device stands there for some of those named here."},
    {"log", "Messages go to standard error, one logfmt line each."},
    {"shutdown", "What happens at SIGTERM and SIGINT; a second signal stops at once."},
    {"model", "One section for each model that needs settings of its own: [model NAME], where NAME"
              " is its id."},
};
const size_t enso_n_option_sections = ENSO_ARRAY_SIZE(enso_option_sections);

#define AT(field) .offset = offsetof(struct enso_config, field)
#define MODEL_AT(field) .offset = offsetof(struct enso_config_model, field)
#define MS(n) ((n)*ENSO_NS_PER_MS)
#define SECONDS(n) ((n)*ENSO_NS_PER_S)
#define HOURS(n) ((n)*3600 * ENSO_NS_PER_S)
#define KIB(n) ((uint64_t)(n) << 10)
#define GIB(n) ((uint64_t)(n) << 30)

#define BATCHING_HELP_ITEMS                                                                        \
    "Most items (texts, images) in one batch; 0: learned from the model's "                        \
    "own speed."
#define BATCHING_HELP_TOKENS                                                                       \
    "Most tokens in one batch of texts; 0: learned from the model's own "                          \
    "speed."
#define BATCHING_HELP_QUEUE                                                                        \
    "Most items that wait; a request that finds no room is refused whole "                         \
    "with 429. One larger than this is admitted when the queue is empty."
#define BATCHING_HELP_DELAY                                                                        \
    "How long an idle device waits for more items before it starts a "                             \
    "batch. 0 is best for latency: batches grow by themselves under load."
#define BATCHING_HELP_MS "Longest time a batch may be predicted to take; a single item always runs."
#define BATCHING_HELP_TRUNCATE                                                                     \
    "Whether a text longer than the model's limit is cut (the answer "                             \
    "says so) or refused with 400, unless the request itself says "                                \
    "which."

#define DTYPE_HELP                                                                                 \
    "Type of the numbers between a model's operators; sums are fp32 in any. auto: fp32 on the "    \
    "processor; on a GPU bf16, or fp16 for weights stored as fp16, and for others where the GPU "  \
    "has no bf16 (compute capability below 8.0) and they fit its range, else fp32. bf16 and fp16 " \
    "with device = cpu are errors; a model that falls back from a GPU to the processor computes "  \
    "in fp32, and /v1/models says so. fp32 is never TF32, which is not offered."
#define GELU_HELP                                                                                  \
    "How bf16 and fp16 compute the activation GELU: exact (by erf, as the model was made), or "    \
    "fast (by tanh, off by up to 0.0005). fp32 is always exact."

#define INVARIANT_HELP                                                                             \
    "Whether the same input gives the same bits whatever it is batched with. The processor and "   \
    "our own kernels always do so; with yes, cuBLASLt computes a product by one algorithm for "    \
    "all batches, one that does not split sums, or not at all. Costs speed on a GPU. "             \
    "/v1/models says what holds."

const struct enso_option enso_options[] = {
    {.section = "server",
     .name = "listen",
     .type = ENSO_OPTION_LIST,
     AT(listen),
     .default_text = "127.0.0.1:8080",
     .max = 64,
     .check = enso__check_address,
     .environment = "ENSOD_LISTEN",
     .flag = "--listen",
     .argument = "ADDR:PORT|unix:PATH",
     .help = "Where to accept connections: ADDR:PORT, [IPv6]:PORT, *:PORT for all addresses, or "
             "unix:PATH. There are no keys yet: listen beyond this machine only behind a proxy "
             "that checks who asks."},
    {.section = "server",
     .name = "models",
     .type = ENSO_OPTION_LIST,
     AT(models),
     .default_text = "",
     .max = 1000,
     .check = check_not_empty,
     .environment = "ENSOD_MODELS",
     .help = "Model folders to serve. A folder without model files but with model sub-folders "
             "serves each of them. MODEL_DIR arguments on the command line replace this list."},
    {.section = "server",
     .name = "model_dir",
     .type = ENSO_OPTION_STRING,
     AT(model_dir),
     .default_text = "",
     .environment = "ENSOD_MODEL_DIR",
     .help = "Folder served when no model is named at all; empty: the models installed with "
             "ensod."},
    {.section = "server",
     .name = "max_connections",
     .type = ENSO_OPTION_INT,
     AT(max_connections),
     .default_text = "16384",
     .min = 1,
     .max = 1000000,
     .environment = "ENSOD_MAX_CONNECTIONS",
     .help = "Most connections at a time; more wait to be accepted."},
    {.section = "server",
     .name = "header_timeout",
     .type = ENSO_OPTION_DURATION,
     AT(header_timeout_ns),
     .default_text = "10s",
     .min = MS(10),
     .max = HOURS(1),
     .reloadable = true,
     .environment = "ENSOD_HEADER_TIMEOUT",
     .help = "Time for a request's line and headers to arrive in full."},
    {.section = "server",
     .name = "body_timeout",
     .type = ENSO_OPTION_DURATION,
     AT(body_timeout_ns),
     .default_text = "30s",
     .min = MS(10),
     .max = HOURS(1),
     .reloadable = true,
     .environment = "ENSOD_BODY_TIMEOUT",
     .help = "Time for a request's body to arrive in full, plus one second per 64 KiB."},
    {.section = "server",
     .name = "idle_timeout",
     .type = ENSO_OPTION_DURATION,
     AT(idle_timeout_ns),
     .default_text = "75s",
     .min = MS(10),
     .max = HOURS(24),
     .reloadable = true,
     .environment = "ENSOD_IDLE_TIMEOUT",
     .help = "Time a connection is kept open between requests."},
    {.section = "server",
     .name = "write_timeout",
     .type = ENSO_OPTION_DURATION,
     AT(write_timeout_ns),
     .default_text = "30s",
     .min = MS(10),
     .max = HOURS(1),
     .reloadable = true,
     .environment = "ENSOD_WRITE_TIMEOUT",
     .help = "Time an answer may make no progress before its connection is closed."},
    {.section = "server",
     .name = "default_timeout",
     .type = ENSO_OPTION_DURATION,
     AT(default_timeout_ns),
     .default_text = "60s",
     .min = 0,
     .max = HOURS(24),
     .reloadable = true,
     .environment = "ENSOD_DEFAULT_TIMEOUT",
     .help = "Deadline of a request that names none; 0: none."},

    {.section = "limits",
     .name = "max_body",
     .type = ENSO_OPTION_SIZE,
     AT(max_body_bytes),
     .default_text = "32MiB",
     .min = KIB(1),
     .max = GIB(4),
     .environment = "ENSOD_MAX_BODY",
     .help = "Largest request body."},
    {.section = "limits",
     .name = "max_json_depth",
     .type = ENSO_OPTION_INT,
     AT(max_json_depth),
     .default_text = "64",
     .min = 4,
     .max = 1000,
     .environment = "ENSOD_MAX_JSON_DEPTH",
     .help = "Deepest nesting of JSON."},
    {.section = "limits",
     .name = "max_json_values",
     .type = ENSO_OPTION_INT,
     AT(max_json_values),
     .default_text = "2000000",
     .min = 100,
     .max = 100000000,
     .environment = "ENSOD_MAX_JSON_VALUES",
     .help = "Most values in the JSON of one request; each takes about 100 bytes while it is "
             "read."},
    {.section = "limits",
     .name = "max_inputs",
     .type = ENSO_OPTION_INT,
     AT(max_inputs),
     .default_text = "2048",
     .min = 1,
     .max = 1000000,
     .environment = "ENSOD_MAX_INPUTS",
     .help = "Most inputs in one request."},
    {.section = "limits",
     .name = "max_image_pixels",
     .type = ENSO_OPTION_INT,
     AT(max_image_pixels),
     .default_text = "64000000",
     .min = 1,
     .max = 1000000000,
     .environment = "ENSOD_MAX_IMAGE_PIXELS",
     .help = "Most pixels of one image, read from its header before it is decoded."},
    {.section = "limits",
     .name = "max_request_pixels",
     .type = ENSO_OPTION_INT,
     AT(max_request_pixels),
     .default_text = "256000000",
     .min = 1,
     .max = 100000000000,
     .environment = "ENSOD_MAX_REQUEST_PIXELS",
     .help = "Most pixels of all images of one request."},
    {.section = "limits",
     .name = "request_memory",
     .type = ENSO_OPTION_SIZE,
     AT(request_memory_bytes),
     .default_text = "1GiB",
     .min = KIB(1024),
     .max = GIB(4096),
     .environment = "ENSOD_REQUEST_MEMORY",
     .help = "Memory for all requests together: bodies, JSON, pixels and answers. Beyond it "
             "requests are refused with 503."},

    {.section = "batching",
     .name = "max_batch_items",
     .type = ENSO_OPTION_INT,
     AT(batching.max_batch_items),
     .default_text = "0",
     .min = 0,
     .max = 65536,
     .environment = "ENSOD_MAX_BATCH_ITEMS",
     .help = BATCHING_HELP_ITEMS},
    {.section = "batching",
     .name = "max_batch_tokens",
     .type = ENSO_OPTION_INT,
     AT(batching.max_batch_tokens),
     .default_text = "0",
     .min = 0,
     .max = 16777216,
     .environment = "ENSOD_MAX_BATCH_TOKENS",
     .help = BATCHING_HELP_TOKENS},
    {.section = "batching",
     .name = "max_queue_items",
     .type = ENSO_OPTION_INT,
     AT(batching.max_queue_items),
     .default_text = "4096",
     .min = 1,
     .max = 1000000,
     .environment = "ENSOD_MAX_QUEUE_ITEMS",
     .help = BATCHING_HELP_QUEUE},
    {.section = "batching",
     .name = "max_queue_delay",
     .type = ENSO_OPTION_DURATION,
     AT(batching.max_queue_delay_ns),
     .default_text = "0",
     .min = 0,
     .max = SECONDS(10),
     .environment = "ENSOD_MAX_QUEUE_DELAY",
     .help = BATCHING_HELP_DELAY},
    {.section = "batching",
     .name = "max_batch_ms",
     .type = ENSO_OPTION_MS,
     AT(batching.max_batch_ns),
     .default_text = "50",
     .min = MS(1),
     .max = SECONDS(60),
     .environment = "ENSOD_MAX_BATCH_MS",
     .help = BATCHING_HELP_MS},
    {.section = "batching",
     .name = "truncate",
     .type = ENSO_OPTION_BOOL,
     AT(batching.truncate),
     .default_text = "yes",
     .environment = "ENSOD_TRUNCATE",
     .help = BATCHING_HELP_TRUNCATE},

    {.section = "device",
     .name = "device",
     .type = ENSO_OPTION_STRING,
     AT(device),
     .default_text = "auto",
     .check = enso__check_device,
     .environment = "ENSOD_DEVICE",
     .flag = "--device",
     .argument = "auto|cpu|cuda:N[,cuda:M...]",
     .help =
         "What computes: cpu, cuda:N for the N-th GPU (from 0; cuda is cuda:0), or auto: the "
         "first GPU that can be used, else the processor. Of several GPUs, cuda:0,cuda:1, each "
         "must be there; a model goes to the one that holds the fewest bytes of weights, unless "
         "its section says device."},
    {.section = "device",
     .name = "lanes",
     .type = ENSO_OPTION_INT,
     AT(lanes),
     .default_text = "1",
     .min = 1,
     .max = 8,
     .environment = "ENSOD_LANES",
     .help = "Lanes of each GPU: each computes batches beside the others, and has memory of its "
             "own for them (see gpu_memory). One, which holds two batches at a time, keeps a GPU "
             "busy that large batches fill; small models may gain by two. The processor always "
             "has one, whose threads are all its cores."},
    {.section = "device",
     .name = "cuda_module",
     .type = ENSO_OPTION_STRING,
     AT(cuda_module),
     .default_text = "",
     .environment = "ENSOD_CUDA_MODULE",
     .help = "Path of the GPU module, ensod-cuda.so; empty: where it is installed, else beside the "
             "executable."},
    {.section = "device",
     .name = "cublaslt",
     .type = ENSO_OPTION_STRING,
     AT(cublaslt),
     .default_text = "",
     .environment = "ENSOD_CUBLASLT",
     .help = "NVIDIA's library of matrix products for a GPU, libcublasLt.so.13 or .12: a path, or "
             "none for our own kernels alone; empty: what the system, CUDA's toolkit or Python's "
             "packages have, else our own kernels."},
    {.section = "device",
     .name = "state_dir",
     .type = ENSO_OPTION_STRING,
     AT(state_dir),
     .default_text = "",
     .environment = "ENSOD_STATE_DIR",
     .help = "Folder in which ensod --tune keeps which matrix products were the fastest on this "
             "GPU; empty: systemd's state directory of the service, else none."},
    {.section = "device",
     .name = "batch_invariant",
     .type = ENSO_OPTION_BOOL,
     AT(arithmetic.batch_invariant),
     .default_text = "no",
     .environment = "ENSOD_BATCH_INVARIANT",
     .help = INVARIANT_HELP},
    {.section = "device",
     .name = "dtype",
     .type = ENSO_OPTION_ENUM,
     AT(arithmetic.dtype),
     .default_text = "auto",
     .choices = dtype_choices,
     .environment = "ENSOD_DTYPE",
     .flag = "--dtype",
     .argument = "auto|fp32|bf16|fp16",
     .help = DTYPE_HELP},
    {.section = "device",
     .name = "gelu",
     .type = ENSO_OPTION_ENUM,
     AT(arithmetic.gelu),
     .default_text = "exact",
     .choices = gelu_choices,
     .environment = "ENSOD_GELU",
     .help = GELU_HELP},
    {.section = "device",
     .name = "gpu_memory",
     .type = ENSO_OPTION_STRING,
     AT(gpu_memory),
     .default_text = "90%",
     .check = enso__check_gpu_memory,
     .environment = "ENSOD_GPU_MEMORY",
     .help = "Most memory of each GPU that weights and batches may take together: a size, or a "
             "share of what is free at the start. A model is refused that does not fit, or that "
             "leaves too little for one batch in each lane: of max_batch_tokens or max_batch_items "
             "where these are set, else of one input. What those batches need is kept for them. A "
             "larger batch that does not fit is computed item by item."},
    {.section = "device",
     .name = "on_device_lost",
     .type = ENSO_OPTION_ENUM,
     AT(on_device_lost),
     .default_text = "auto",
     .choices = lost_choices,
     .environment = "ENSOD_ON_DEVICE_LOST",
     .help = "When a GPU has failed for good: exit ends ensod with an error, so that it is started "
             "again; cpu loads the GPU's models on the processor; stay answers their requests with "
             "503. auto: exit under systemd (NOTIFY_SOCKET is set), else stay."},
    {.section = "device",
     .name = "threads",
     .type = ENSO_OPTION_INT,
     AT(threads),
     .default_text = "0",
     .min = 0,
     .max = 1024,
     .environment = "ENSOD_THREADS",
     .flag = "--threads",
     .argument = "N",
     .help = "Threads that compute on the processor; 0: as many as the process may use (its CPU "
             "mask and its cgroup's quota)."},
    {.section = "device",
     .name = "isa",
     .type = ENSO_OPTION_ENUM,
     AT(isa),
     .default_text = "auto",
     .choices = isa_choices,
     .environment = "ENSOD_CPU_ISA",
     .help = "Instruction set of the processor's kernels. One that this processor lacks is an "
             "error."},

    {.section = "log",
     .name = "level",
     .type = ENSO_OPTION_ENUM,
     AT(log_level),
     .default_text = "info",
     .choices = level_choices,
     .reloadable = true,
     .environment = "ENSOD_LOG_LEVEL",
     .help = "Least important messages that are written."},
    {.section = "log",
     .name = "access_log",
     .type = ENSO_OPTION_STRING,
     AT(access_log),
     .default_text = "stderr",
     .check = check_not_empty,
     .reloadable = true,
     .environment = "ENSOD_ACCESS_LOG",
     .help = "One line for each request: off, stderr, or the path of a file (opened again on "
             "SIGHUP)."},

    {.section = "shutdown",
     .name = "drain_delay",
     .type = ENSO_OPTION_DURATION,
     AT(drain_delay_ns),
     .default_text = "0",
     .min = 0,
     .max = HOURS(1),
     .reloadable = true,
     .environment = "ENSOD_DRAIN_DELAY",
     .help = "How long to go on accepting while /ready already says no, so that load balancers "
             "notice."},
    {.section = "shutdown",
     .name = "drain_timeout",
     .type = ENSO_OPTION_DURATION,
     AT(drain_timeout_ns),
     .default_text = "30s",
     .min = 0,
     .max = HOURS(1),
     .reloadable = true,
     .environment = "ENSOD_DRAIN_TIMEOUT",
     .help =
         "How long to wait for requests in progress; what is left is answered with 503. A batch "
         "that still runs 3 seconds later is given up and the process ends; a second signal ends "
         "it at once."},

    {.section = "model",
     .name = "path",
     .type = ENSO_OPTION_STRING,
     MODEL_AT(path),
     .check = check_not_empty,
     .help = "The model's folder or file. Left out: the section is about the model of this id "
             "that is served from [server] models or the command line."},
    {.section = "model",
     .name = "served_name",
     .type = ENSO_OPTION_STRING,
     MODEL_AT(served_name),
     .check = enso__check_model_name,
     .help = "The id clients use instead of NAME."},
    {.section = "model",
     .name = "aliases",
     .type = ENSO_OPTION_LIST,
     MODEL_AT(aliases),
     .max = 64,
     .check = enso__check_model_name,
     .help = "Further ids clients may use."},
    {.section = "model",
     .name = "required",
     .type = ENSO_OPTION_BOOL,
     MODEL_AT(required),
     .help = "Whether a failure to load it ends the start. Otherwise the other models serve, and "
             "/v1/models shows the error. (Models named on the command line are required.)"},
    {.section = "model",
     .name = "device",
     .type = ENSO_OPTION_STRING,
     MODEL_AT(device),
     .check = enso__check_model_device,
     .help = "Where it runs: cpu, or one of the GPUs that [device] device names, or several: then "
             "each holds a copy, and a request goes to the one that should answer first. Left out: "
             "the GPU that holds the fewest bytes of weights when it is loaded."},
    {.section = "model",
     .name = "max_batch_items",
     .type = ENSO_OPTION_INT,
     MODEL_AT(batching.max_batch_items),
     .min = 0,
     .max = 65536,
     .help = BATCHING_HELP_ITEMS},
    {.section = "model",
     .name = "max_batch_tokens",
     .type = ENSO_OPTION_INT,
     MODEL_AT(batching.max_batch_tokens),
     .min = 0,
     .max = 16777216,
     .help = BATCHING_HELP_TOKENS},
    {.section = "model",
     .name = "max_queue_items",
     .type = ENSO_OPTION_INT,
     MODEL_AT(batching.max_queue_items),
     .min = 1,
     .max = 1000000,
     .help = BATCHING_HELP_QUEUE},
    {.section = "model",
     .name = "max_queue_delay",
     .type = ENSO_OPTION_DURATION,
     MODEL_AT(batching.max_queue_delay_ns),
     .min = 0,
     .max = SECONDS(10),
     .help = BATCHING_HELP_DELAY},
    {.section = "model",
     .name = "max_batch_ms",
     .type = ENSO_OPTION_MS,
     MODEL_AT(batching.max_batch_ns),
     .min = MS(1),
     .max = SECONDS(60),
     .help = BATCHING_HELP_MS},
    {.section = "model",
     .name = "truncate",
     .type = ENSO_OPTION_BOOL,
     MODEL_AT(batching.truncate),
     .help = BATCHING_HELP_TRUNCATE},
    {.section = "model",
     .name = "dtype",
     .type = ENSO_OPTION_ENUM,
     MODEL_AT(arithmetic.dtype),
     .choices = dtype_choices,
     .help = DTYPE_HELP},
    {.section = "model",
     .name = "gelu",
     .type = ENSO_OPTION_ENUM,
     MODEL_AT(arithmetic.gelu),
     .choices = gelu_choices,
     .help = GELU_HELP},
    {.section = "model",
     .name = "batch_invariant",
     .type = ENSO_OPTION_BOOL,
     MODEL_AT(arithmetic.batch_invariant),
     .help = INVARIANT_HELP},
};
const size_t enso_n_options = ENSO_ARRAY_SIZE(enso_options);
_Static_assert(ENSO_ARRAY_SIZE(enso_options) <= sizeof((struct enso_config *)0)->origin,
               "enso_config.origin has a place for each row");

const struct enso_option *enso_option_find(const char *section, const char *name)
{
    for (size_t i = 0; i < enso_n_options; i++) {
        if (strcmp(enso_options[i].section, section) == 0 &&
            strcmp(enso_options[i].name, name) == 0)
            return &enso_options[i];
    }
    return NULL;
}
