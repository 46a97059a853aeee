/* SPDX-License-Identifier: Apache-2.0
 *
 * Running an ONNX model on the CPU backend from files to files, for the tests that compare with
 * outputs of others: load, passes or none, program, context, compare.
 */
#ifndef ENSO_TESTS_ENGINE_FORMATS_ONNX_RUN_H
#define ENSO_TESTS_ENGINE_FORMATS_ONNX_RUN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "engine/tensor.h"

#define ONNX_RUN_MAX 32 /* inputs or outputs of a test */

struct onnx_case {
    const char *model; /* path */
    struct enso_tensor inputs[ONNX_RUN_MAX], outputs[ONNX_RUN_MAX];
    char *input_names[ONNX_RUN_MAX]; /* "" when the file gives none: then by position */
    size_t n_inputs, n_outputs;
    float rtol, atol;
    bool freeze; /* integer inputs of rank 0 and 1 may be made constants (axes, shapes...) */
};

enum onnx_outcome { ONNX_PASSED, ONNX_UNSUPPORTED, ONNX_FAILED };

/* Reads input_0.pb ..., output_0.pb ... of a folder; ENSO_OK even if there are none. */
enum enso_status onnx_case_read(struct onnx_case *c, const char *folder, struct enso_error *err);
void onnx_case_done(struct onnx_case *c);

/* Runs it with or without passes; the sentence says what failed or is unsupported. */
enum onnx_outcome onnx_case_run(const struct onnx_case *c, bool passes, struct enso_error *err);

#endif
