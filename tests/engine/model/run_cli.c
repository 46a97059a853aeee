/* SPDX-License-Identifier: Apache-2.0
 *
 * run_cli [--isa NAME] [--threads N] [--module ensod-cuda.so --device cuda:0 --dtype
 * fp32|bf16|fp16] FOLDER: runs a model on batches told in JSON lines, for comparisons with the
 * reference (tests/parity) and for benches. Reads a line per batch, an array of items as
 * model_rig.h tells them, and writes a line per batch: an array with a list of outputs per item,
 *
 *     [[{"shape": [1, 5], "values": [0.25, ...]}], ...]
 *
 * or {"error": "..."}. Floats are written so that they read back as the same bits. A line
 * {"repeat": N, "items": [...]} runs its batch N times and is answered by how long each took, and
 * how long each kept a GPU by the GPU's own clock (0: it has none); the lane is told when a batch
 * should be through, as the daemon tells it, from the batch before. {"steps": N, "items": [...]}
 * measures each step of the batch on a GPU, run N times (step_times.h), and {"device": true} asks
 * what it is:
 *
 *     {"seconds": [0.0012, ...], "device_seconds": [0.0011, ...]}
 *     {"steps": [{"op": "MatMul", "node": "", "dims": "[1,2] -> [1,3]", "seconds": 2e-6}, ...]}
 *     {"device": "NVIDIA H200, cuBLASLt 13.1.0"}
 */
#include "ensod_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/number.h"
#include "tests/engine/model/model_rig.h"
#include "tests/engine/model/step_times.h"

#define MAX_BATCH 4096

static void write_tensor(struct enso_buffer *b, const struct enso_tensor *t)
{
    size_t n = (size_t)enso_tensor_count(t);

    enso_buffer_puts(b, "{\"shape\":[");
    for (uint8_t d = 0; d < t->rank; d++)
        enso_buffer_printf(b, "%s%lld", d != 0 ? "," : "", (long long)t->dims[d]);
    enso_buffer_puts(b, "],\"values\":");
    if (t->dtype == ENSO_DTYPE_F32) {
        enso_buffer_put_f32_array(b, t->data, n);
    } else {
        enso_buffer_putc(b, '[');
        for (size_t i = 0; i < n; i++)
            enso_buffer_printf(b, "%s%.17g", i != 0 ? "," : "", model_rig_number(t, i));
        enso_buffer_putc(b, ']');
    }
    enso_buffer_putc(b, '}');
}

static void write_samples(struct enso_buffer *b, struct enso_sample *const *samples, size_t n)
{
    enso_buffer_putc(b, '[');
    for (size_t i = 0; i < n; i++) {
        enso_buffer_puts(b, i != 0 ? ",[" : "[");
        for (uint32_t k = 0; k < samples[i]->n_outputs; k++) {
            if (k != 0)
                enso_buffer_putc(b, ',');
            write_tensor(b, &samples[i]->outputs[k]);
        }
        enso_buffer_putc(b, ']');
    }
    enso_buffer_puts(b, "]\n");
}

/* Every item as a sample: one run changes them. *ret_n are made, on failure too. */
static int make_samples(const struct model_rig *rig, const char *folder, const json_t *items,
                        struct enso_sample **samples, size_t *ret_n, struct enso_error *err)
{
    int st = ENSO_OK;

    *ret_n = 0;
    if (json_array_size(items) == 0 || json_array_size(items) > MAX_BATCH)
        return enso_error_set(err, ENSO_INVALID, "a line is an array of 1 to %d items", MAX_BATCH);
    while (st == ENSO_OK && *ret_n < json_array_size(items)) {
        st = model_rig_sample(rig->model, folder, json_array_get(items, *ret_n), &samples[*ret_n],
                              err);
        *ret_n += st == ENSO_OK;
    }
    return st;
}

/* What a batch took: of the caller's time, of the device's (0: it does not tell). */
struct took {
    uint64_t ns, compute_ns;
};

/* One batch, which the last one like it (zeros: none) predicts; its outputs where b is given. */
static int run_batch(struct model_rig *rig, const char *folder, const json_t *items,
                     struct enso_buffer *b, struct took *took, struct enso_error *err)
{
    static struct enso_sample *samples[MAX_BATCH];
    size_t n;
    int st = make_samples(rig, folder, items, samples, &n, err);
    uint64_t begin_ns = enso_clock_now_ns();
    struct enso_spent spent = {0};
    const struct enso_pace pace = {took->compute_ns,
                                   took->compute_ns != 0 ? begin_ns + took->compute_ns : 0};

    if (st == ENSO_OK)
        st = enso_model_begin(rig->model, rig->lane, 0, samples, n, &pace, err);
    if (st == ENSO_OK)
        st = enso_model_finish(rig->model, rig->lane, 0, samples, n, &spent, err);
    took->compute_ns = spent.compute_ns;
    took->ns = enso_clock_now_ns() - begin_ns;
    if (st == ENSO_OK && b != NULL)
        write_samples(b, samples, n);
    for (size_t i = 0; i < n; i++)
        enso_sample_destroy(samples[i]);
    return st;
}

static int run_repeated(struct model_rig *rig, const char *folder, const json_t *line,
                        struct enso_buffer *b, struct enso_error *err)
{
    json_int_t n = json_integer_value(json_object_get(line, "repeat"));
    struct enso_buffer device = ENSO_BUFFER_INIT;
    struct took took = {0, 0};
    int st = ENSO_OK;

    enso_buffer_puts(b, "{\"seconds\":[");
    for (json_int_t i = 0; st == ENSO_OK && i < n; i++) {
        st = run_batch(rig, folder, json_object_get(line, "items"), NULL, &took, err);
        enso_buffer_printf(b, "%s%.9f", i != 0 ? "," : "", (double)took.ns * 1e-9);
        enso_buffer_printf(&device, "%s%.9f", i != 0 ? "," : "", (double)took.compute_ns * 1e-9);
    }
    enso_buffer_printf(b, "],\"device_seconds\":[%.*s]}\n", (int)device.size,
                       device.size != 0 ? (const char *)device.data : "");
    b->failed |= device.failed;
    enso_buffer_done(&device);
    return st;
}

static int run_stepwise(struct model_rig *rig, const char *folder, const json_t *line,
                        struct enso_buffer *b, struct enso_error *err)
{
    const struct step_time *times;
    struct took took = {0, 0};

    if (rig->backend->host_memory)
        return enso_error_set(err, ENSO_UNSUPPORTED, "steps are measured on a GPU: --module FILE");
    step_times_want((unsigned)json_integer_value(json_object_get(line, "steps")));
    int st = run_batch(rig, folder, json_object_get(line, "items"), NULL, &took, err);
    step_times_want(0);
    size_t n = step_times_get(&times);

    enso_buffer_puts(b, "{\"steps\":[");
    for (size_t i = 0; i < n; i++) {
        enso_buffer_printf(b, "%s{\"op\":\"%s\",\"node\":", i != 0 ? "," : "", times[i].op);
        enso_buffer_put_json_string(b, times[i].node, strlen(times[i].node));
        enso_buffer_printf(b, ",\"dims\":\"%s\",\"seconds\":%.9f}", times[i].dims,
                           times[i].seconds);
    }
    enso_buffer_puts(b, "]}\n");
    return st;
}

static int tell_device(const struct model_rig *rig, struct enso_buffer *b)
{
    struct enso_device_info info;

    rig->backend->device_info(rig->device, &info);
    enso_buffer_puts(b, "{\"device\":");
    enso_buffer_put_json_string(b, info.description, strlen(info.description));
    enso_buffer_puts(b, "}\n");
    return ENSO_OK;
}

static int run_asked(struct model_rig *rig, const char *folder, const json_t *line,
                     struct enso_buffer *b, struct enso_error *err)
{
    if (json_object_get(line, "device") != NULL)
        return tell_device(rig, b);
    return json_object_get(line, "steps") != NULL ? run_stepwise(rig, folder, line, b, err)
                                                  : run_repeated(rig, folder, line, b, err);
}

static int run_line(struct model_rig *rig, const char *folder, const char *line, size_t size,
                    struct enso_buffer *b, struct enso_error *err)
{
    const struct enso_json_limits limits = {8, 10000000};
    json_t *told = NULL;
    struct took took = {0, 0};
    int st = enso_json_parse(line, size, &limits, &told, err);

    if (st == ENSO_OK)
        st = json_is_object(told) ? run_asked(rig, folder, told, b, err)
                                  : run_batch(rig, folder, told, b, &took, err);
    json_decref(told);
    return st;
}

static int run_lines(struct model_rig *rig, const char *folder)
{
    struct enso_buffer b = ENSO_BUFFER_INIT;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;

    while ((size = getline(&line, &capacity, stdin)) > 0) {
        struct enso_error err = {0};

        enso_buffer_clear(&b);
        if (run_line(rig, folder, line, (size_t)size, &b, &err) != ENSO_OK) {
            enso_buffer_clear(&b);
            enso_buffer_puts(&b, "{\"error\":");
            enso_buffer_put_json_string(&b, err.message, strlen(err.message));
            enso_buffer_puts(&b, "}\n");
        }
        if (b.failed) {
            fputs("run_cli: out of memory\n", stderr);
            break;
        }
        fwrite(b.data, 1, b.size, stdout);
        fflush(stdout);
    }
    free(line);
    enso_buffer_done(&b);
    return size > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* As the daemon's option has it; false for what it does not know. */
static bool read_dtype(const char *name, enum enso_model_dtype *ret)
{
    static const char *const names[] = {[ENSO_MODEL_DTYPE_AUTO] = "auto",
                                        [ENSO_MODEL_DTYPE_FP32] = "fp32",
                                        [ENSO_MODEL_DTYPE_BF16] = "bf16",
                                        [ENSO_MODEL_DTYPE_FP16] = "fp16"};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(names); i++)
        if (strcmp(names[i], name) == 0) {
            *ret = (enum enso_model_dtype)i;
            return true;
        }
    return false;
}

int main(int argc, char **argv)
{
    const char *isa = "auto", *module = NULL, *device = "cuda:0";
    enum enso_model_dtype dtype = ENSO_MODEL_DTYPE_FP32;
    unsigned n_threads = 0;
    struct enso_error err = {0};
    struct model_rig rig;
    int i = 1, status;

    for (; i + 2 < argc; i += 2) {
        if (strcmp(argv[i], "--isa") == 0)
            isa = argv[i + 1];
        else if (strcmp(argv[i], "--threads") == 0)
            n_threads = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--module") == 0)
            module = argv[i + 1];
        else if (strcmp(argv[i], "--device") == 0)
            device = argv[i + 1];
        else if (strcmp(argv[i], "--dtype") != 0 || !read_dtype(argv[i + 1], &dtype))
            break;
    }
    if (i + 1 != argc) {
        fputs("usage: run_cli [--isa NAME] [--threads N] [--module FILE [--device cuda:N] [--dtype "
              "TYPE]] FOLDER\n",
              stderr);
        return EXIT_FAILURE;
    }
    (void)prctl(PR_SET_TIMERSLACK, 1000UL); /* as the daemon's lanes: 50 us by default */
    status = module != NULL ? model_rig_open_on(&rig, argv[i], module, device, dtype, &err)
                            : model_rig_open(&rig, argv[i], isa, n_threads, &err);
    if (status != ENSO_OK) {
        fprintf(stderr, "run_cli: %s\n", err.message);
        return EXIT_FAILURE;
    }
    if (enso_model_info(rig.model)->dtype_reason !=
        NULL) { /* another type would pass for this one */
        fprintf(stderr, "run_cli: %s\n", enso_model_info(rig.model)->dtype_reason);
        model_rig_close(&rig);
        return EXIT_FAILURE;
    }
    status = run_lines(&rig, argv[i]);
    model_rig_close(&rig);
    return status;
}
