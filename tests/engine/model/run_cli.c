/* SPDX-License-Identifier: Apache-2.0
 *
 * run_cli [--isa NAME] [--threads N] FOLDER: runs a model on batches told in JSON lines, for
 * comparisons with the reference (tests/parity). Reads a line per batch, an array of items as
 * model_rig.h tells them, and writes a line per batch: an array with a list of outputs per item,
 *
 *     [[{"shape": [1, 5], "values": [0.25, ...]}], ...]
 *
 * or {"error": "..."}. Floats are written so that they read back as the same bits.
 */
#include "ensod_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/json.h"
#include "base/number.h"
#include "tests/engine/model/model_rig.h"

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

static int run_line(struct model_rig *rig, const char *folder, const char *line, size_t size,
                    struct enso_buffer *b, struct enso_error *err)
{
    static struct enso_sample *samples[MAX_BATCH];
    const struct enso_json_limits limits = {8, 10000000};
    json_t *batch = NULL;
    size_t n = 0;
    int st = enso_json_parse(line, size, &limits, &batch, err);

    if (st == ENSO_OK && (json_array_size(batch) == 0 || json_array_size(batch) > MAX_BATCH))
        st = enso_error_set(err, ENSO_INVALID, "a line is an array of 1 to %d items", MAX_BATCH);
    while (st == ENSO_OK && n < json_array_size(batch)) {
        st = model_rig_sample(rig->model, folder, json_array_get(batch, n), &samples[n], err);
        n += st == ENSO_OK;
    }
    if (st == ENSO_OK)
        st = enso_model_run(rig->model, rig->lane, samples, n, err);
    if (st == ENSO_OK)
        write_samples(b, samples, n);
    for (size_t i = 0; i < n; i++)
        enso_sample_destroy(samples[i]);
    json_decref(batch);
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

int main(int argc, char **argv)
{
    const char *isa = "auto";
    unsigned n_threads = 0;
    struct enso_error err = {0};
    struct model_rig rig;
    int i = 1, status;

    for (; i + 2 < argc; i += 2) {
        if (strcmp(argv[i], "--isa") == 0)
            isa = argv[i + 1];
        else if (strcmp(argv[i], "--threads") == 0)
            n_threads = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else
            break;
    }
    if (i + 1 != argc) {
        fputs("usage: run_cli [--isa NAME] [--threads N] FOLDER\n", stderr);
        return EXIT_FAILURE;
    }
    if (model_rig_open(&rig, argv[i], isa, n_threads, &err) != ENSO_OK) {
        fprintf(stderr, "run_cli: %s\n", err.message);
        return EXIT_FAILURE;
    }
    status = run_lines(&rig, argv[i]);
    model_rig_close(&rig);
    return status;
}
