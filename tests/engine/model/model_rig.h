/* SPDX-License-Identifier: Apache-2.0
 *
 * A model on the CPU backend or on a GPU's, and inputs told in JSON: what check_model.c (golden
 * files) and run_cli.c (tests/parity) share. An item is one of
 *
 *     {"text": "...", "pair": "..."}
 *     {"ids": [2, 60, 3]}
 *     {"image": "0.png"}                                       below the folder, or a whole path
 *     {"inputs": [{"dtype": "FP32", "shape": [2, 3], ...}]}    the model's own tensors
 *
 * with "want": "raw" (logits), "scores", "pooled" or "tokens" (default "raw"), "truncate" (default
 * true) and "truncate_left". A tensor's content is "values": [...], or "file": "path" (raw bytes),
 * or "ramp": seed, a mess that the scripts make too: element k is m = (seed * 7919 + k * 104729)
 * mod 65521, m mod 2048 / 1024 - 1 as a float, m mod "below" as a whole number.
 */
#ifndef ENSO_TESTS_MODEL_RIG_H
#define ENSO_TESTS_MODEL_RIG_H

#include <jansson.h>

#include "engine/model/model.h"

struct model_rig {
    const struct enso_backend *backend;
    struct enso_device *device;
    struct enso_lane *lane;
    struct enso_model *model;
};

/* isa: "auto", "generic", "avx2"; ENSO_UNSUPPORTED when this processor lacks it. On failure there
 * is nothing to close. */
int model_rig_open(struct model_rig *rig, const char *folder, const char *isa, unsigned n_threads,
                   struct enso_error *err);
/* The same on a device ("cuda:0") of a module, ensod-cuda.so, computing in that type. With
 * ENSO_TEST_CUBLASLT, NVIDIA's library of matrix products is that one (a path, "none"), else it is
 * looked for. Its batches can be measured step by step (step_times.h). */
int model_rig_open_on(struct model_rig *rig, const char *folder, const char *module,
                      const char *device, enum enso_model_dtype dtype, struct enso_error *err);
void model_rig_close(struct model_rig *rig);

/* One item as a sample, the caller's. */
int model_rig_sample(const struct enso_model *model, const char *folder, const json_t *item,
                     struct enso_sample **ret_sample, struct enso_error *err);

/* Element i of a tensor as a double, whatever its type. */
double model_rig_number(const struct enso_tensor *t, size_t i);

#endif
