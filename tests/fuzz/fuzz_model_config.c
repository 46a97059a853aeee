/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: the JSON files of model folders, bent. Sound folders (tests/engine/model/golden) are
 * copied to a temporary place; the input says which of their files is edited and how, so that what
 * is tried is mostly JSON and nearly right:
 *
 *     byte 0           which file
 *     then, repeated   place (2 bytes), bytes to delete, bytes to insert, the bytes to insert
 *
 * The folder is loaded; a model that loads must run a sample without complaint.
 */
#include "ensod_build.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "engine/model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define GOLDEN ENSO_TOP_SRCDIR "/tests/engine/model/golden"

/* What is copied; inputs edit the first N_BENT. */
#define N_BENT 11
static struct target {
    const char *folder, *name;
    char *text;
    size_t size;
} targets[] = {
    {"st_cls_dense", "config.json", NULL, 0},
    {"st_cls_dense", "modules.json", NULL, 0},
    {"st_cls_dense", "1_Pooling/config.json", NULL, 0},
    {"st_cls_dense", "2_Dense/config.json", NULL, 0},
    {"st_cls_dense", "sentence_bert_config.json", NULL, 0},
    {"st_cls_dense", "tokenizer_config.json", NULL, 0},
    {"st_concatenated_prompt", "config_sentence_transformers.json", NULL, 0},
    {"bert_classifier", "config.json", NULL, 0},
    {"distilbert_classifier_sharded", "config.json", NULL, 0},
    {"distilbert_classifier_sharded", "model.safetensors.index.json", NULL, 0},
    {"onnx_pictures", "ensod.json", NULL, 0},
    {"st_cls_dense", "model.safetensors", NULL, 0},
    {"st_cls_dense", "tokenizer.json", NULL, 0},
    {"st_cls_dense", "2_Dense/model.safetensors", NULL, 0},
    {"st_concatenated_prompt", "config.json", NULL, 0},
    {"st_concatenated_prompt", "modules.json", NULL, 0},
    {"st_concatenated_prompt", "1_Pooling/config.json", NULL, 0},
    {"st_concatenated_prompt", "model.safetensors", NULL, 0},
    {"st_concatenated_prompt", "tokenizer.json", NULL, 0},
    {"bert_classifier", "model.safetensors", NULL, 0},
    {"bert_classifier", "tokenizer.json", NULL, 0},
    {"distilbert_classifier_sharded", "model-00001-of-00003.safetensors", NULL, 0},
    {"distilbert_classifier_sharded", "model-00002-of-00003.safetensors", NULL, 0},
    {"distilbert_classifier_sharded", "model-00003-of-00003.safetensors", NULL, 0},
    {"distilbert_classifier_sharded", "tokenizer.json", NULL, 0},
    {"onnx_pictures", "model.onnx", NULL, 0},
};

static char top[] = "/tmp/ensod-fuzz-XXXXXX";
static struct enso_device *device;
static struct enso_lane *lane;

static void write_target(const struct target *t, const char *text, size_t size)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s/%s", top, t->folder, t->name);
    f = fopen(path, "wbe");
    if (f == NULL || fwrite(text, 1, size, f) != size || fclose(f) != 0)
        abort();
}

static void remove_all(void)
{
    char command[64];

    snprintf(command, sizeof command, "rm -rf %s", top);
    if (system(command) != 0)
        fprintf(stderr, "%s was left behind\n", top);
}

static void set_up(void)
{
    const struct enso_device_options options = {.name = "cpu", .n_threads = 1, .isa = "auto"};
    char path[1024];

    if (mkdtemp(top) == NULL || atexit(remove_all) != 0)
        abort();
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(targets); i++) {
        struct target *t = &targets[i];

        snprintf(path, sizeof path, "mkdir -p $(dirname %s/%s/%s)", top, t->folder, t->name);
        if (system(path) != 0)
            abort();
        snprintf(path, sizeof path, "%s/%s/%s", GOLDEN, t->folder, t->name);
        if (enso_file_read(path, 1 << 24, &t->text, &t->size, NULL) != ENSO_OK)
            abort();
        write_target(t, t->text, t->size);
    }
    if (enso_backend_cpu()->device_open(&options, &device, NULL) != ENSO_OK ||
        enso_backend_cpu()->lane_open(device, &lane, NULL) != ENSO_OK)
        abort();
}

/* The file's text after the input's edits; *size is its new size, to be freed. */
static char *bend(const struct target *t, const uint8_t *data, size_t n, size_t *ret_size)
{
    size_t size = t->size;
    char *text = malloc(size + n + 1);

    if (text == NULL)
        abort();
    memcpy(text, t->text, size);
    while (n >= 4) {
        size_t at = ((size_t)data[0] << 8 | data[1]) % (size + 1);
        size_t deleted = ENSO_MIN((size_t)data[2], size - at);
        size_t inserted = ENSO_MIN((size_t)data[3], n - 4);

        memmove(text + at + inserted, text + at + deleted, size - at - deleted);
        memcpy(text + at, data + 4, inserted);
        size = size - deleted + inserted;
        data += 4 + inserted;
        n -= 4 + inserted;
    }
    *ret_size = size;
    return text;
}

static void load_and_run(const struct target *t)
{
    char path[512];
    struct enso_model_options options = {
        .path = path, .id = "fuzz", .backend = enso_backend_cpu(), .device = device};
    struct enso_model *model = NULL;
    struct enso_sample *sample = NULL;
    struct enso_error err = {0};

    snprintf(path, sizeof path, "%s/%s", top, t->folder);
    if (enso_model_load(&options, &model, &err) != ENSO_OK) {
        if (err.message[0] == '\0')
            abort();
        return;
    }
    if (enso_model_warmup_sample(model, 0.1, &sample, &err) != ENSO_OK ||
        enso_model_run(model, lane, &sample, 1, &err) != ENSO_OK) {
        fprintf(stderr, "it loads, but does not run: %s\n", err.message);
        abort();
    }
    enso_sample_destroy(sample);
    enso_model_forget_lane(model, lane);
    enso_model_unref(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct target *t;
    size_t bent_size;
    char *bent;

    if (device == NULL)
        set_up();
    if (size < 1)
        return 0;
    t = &targets[data[0] % N_BENT];
    bent = bend(t, data + 1, size - 1, &bent_size);
    write_target(t, bent, bent_size);
    load_and_run(t);
    write_target(t, t->text, t->size);
    free(bent);
    return 0;
}
