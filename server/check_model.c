/* SPDX-License-Identifier: Apache-2.0
 *
 * ensod --check DIR: load one model as the daemon would and print its task, shapes and bytes.
 */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "engine/model/model.h"
#include "server/daemon.h"
#include "server/device.h"
#include "server/registry.h"

static void print_tensors(const char *what, const struct enso_tensor_info *t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        (void)printf("%-14s %s %s [", i == 0 ? what : "", t[i].name, enso_dtype_name(t[i].dtype));
        for (uint8_t d = 0; d < t[i].rank; d++) {
            if (t[i].dims[d] < 0)
                (void)printf(d != 0 ? ", batch" : "batch");
            else
                (void)printf(d != 0 ? ", %lld" : "%lld", (long long)t[i].dims[d]);
        }
        (void)printf("]\n");
    }
}

static void print_model(const struct enso_model_info *info)
{
    (void)printf("%-14s %s\n", "model", info->id);
    (void)printf("%-14s %s\n", "task", enso_task_name(info->task));
    (void)printf("%-14s %s (%s)\n", "architecture", info->architecture, info->format);
    (void)printf("%-14s %s, computes in %s%s%s\n", "device", info->device, info->dtype,
                 info->dtype_reason != NULL ? ": " : "",
                 info->dtype_reason != NULL ? info->dtype_reason : "");
    (void)printf("%-14s %llu in files, %llu in memory\n", "weight bytes",
                 (unsigned long long)info->file_bytes, (unsigned long long)info->weight_bytes);
    (void)printf("%-14s %.3f s\n", "loaded in", info->load_seconds);
    (void)printf("%-14s %s%s\n", "batches", info->batched ? "yes" : "no, one item at a time",
                 info->batch_invariant ? ", same bits in any batch" : "");
    if (info->takes_text)
        (void)printf("%-14s at most %u tokens, vocabulary of %u\n", "text", info->max_tokens,
                     info->vocabulary_size);
    if (info->takes_images)
        (void)printf("%-14s %u x %u, %u channels\n", "picture", info->image_height,
                     info->image_width, info->image_channels);
    if (info->task == ENSO_TASK_EMBEDDING)
        (void)printf("%-14s %u dimensions, %s pooling%s\n", "embedding", info->dimensions,
                     info->pooling, info->normalized ? ", normalised" : "");
    if (info->n_labels != 0)
        (void)printf("%-14s %u: %s%s%s%s\n", "labels", info->n_labels, info->labels[0],
                     info->n_labels > 1 ? ", " : "", info->n_labels > 1 ? info->labels[1] : "",
                     info->n_labels > 2 ? ", ..." : "");
    print_tensors("inputs", info->inputs, info->n_inputs);
    print_tensors("outputs", info->outputs, info->n_outputs);
}

int enso_daemon_check_model(const struct enso_config *config, struct enso_error *err)
{
    struct enso_devices devices = {0};
    struct enso_place *place;
    struct enso_error fallback = {0};
    char id[256];
    struct enso_model_options options = {.path = config->check_dir,
                                         .max_pixels = (uint64_t)config->max_image_pixels};
    struct enso_model *model;
    int st;

    enso_json_init();
    enso_log_set_level(ENSO_LOG_WARNING);
    st = enso_devices_open(config, &devices, err);
    if (st != ENSO_OK) {
        enso_devices_close(&devices);
        return st;
    }
    enso_entries_default_id(config->check_dir, id, sizeof id);
    options.id = id;
    enso_devices_arithmetic(&config->arithmetic, &options);
    st = enso_devices_load(&devices, NULL, &options, &model, &place, &fallback, err);
    if (st == ENSO_OK) {
        print_model(enso_model_info(model));
        enso_model_unref(model);
    }
    enso_devices_close(&devices);
    return st;
}
