/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX models: any file of opset 1 to 24 whose operators ensod has becomes a graph.
 *
 *     struct enso_graph *graph;
 *     st = enso_onnx_load("models/mnist/model.onnx", NULL, &graph, err);
 *
 * What the loader does beyond copying (engine/ops/ops.h fixes the form that nodes take):
 *   - Old opsets are brought to today's form: attributes that became inputs (axes, split, pads,
 *     starts, bounds, ratio), Softmax over a flattened tail, broadcasting by attribute.
 *   - Constant nodes become constants; Dropout passes its input on. LayerNormalization, Celu,
 *     Swish and some other functions become the operators they consist of.
 *   - Dimensions: a symbol (or nothing) in dimension 0 of every input is the number of items of a
 *     batch, ENSO_EXTENT_ITEMS, if it is the same symbol everywhere; if only some inputs have one
 *     it is 1, one item a batch. Sizes for other symbols come from the options. What the file says
 *     about shapes of anything but inputs is not believed but inferred.
 *   - Floats are computed in F32: FLOAT16, BFLOAT16 and DOUBLE tensors are seen as F32 (constants
 *     keep their stored type and are converted when they are read), Cast to one of them is a Cast
 *     to F32, and so are the model's inputs and outputs of these types.
 *   - Tensor contents stay in the file, or in the files of external data beside it (relative
 *     locations without ".."), until a device binds them.
 *
 * Opset 11 and up is what exporters write today. Older ones are taken where their operators mean
 * the same or can be told in today's form, as old model zoos need: down to 7 nothing is known to
 * differ; below, Tile before 6 and Pad before 2 are unsupported, BatchNormalization and Dropout
 * are taken as for inference whatever is_test says. Upsample and other operators that are gone
 * since are unsupported as any other.
 *
 * Source: onnx.ai/onnx/repo-docs/IR.html and Operators.html, at opset 24.
 */
#ifndef ENSO_ENGINE_FORMATS_ONNX_H
#define ENSO_ENGINE_FORMATS_ONNX_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"
#include "engine/tensor.h"

struct enso_graph;

#define ENSO_ONNX_MIN_OPSET 1
#define ENSO_ONNX_MAX_OPSET 24

/* A size for a dimension that the file leaves open. */
struct enso_onnx_size {
    const char *name; /* the file's symbol ("height"), or input and axis ("image[2]") */
    int64_t size;     /* >= 1 */
};

/* An input that always has the same content: it becomes a constant. */
struct enso_onnx_frozen {
    const char *name;
    struct enso_tensor tensor; /* copied; its shape is taken, whatever the file says */
};

struct enso_onnx_options {
    const struct enso_onnx_size *sizes;
    size_t n_sizes;
    const struct enso_onnx_frozen *frozen;
    size_t n_frozen;
};

/* Loads a model; the graph is the caller's, sorted out and inferred. options may be NULL.
 * ENSO_NOT_FOUND, ENSO_IO, ENSO_CORRUPT (broken, lying or contradictory content), ENSO_UNSUPPORTED
 * (operator, opset, type, subgraph, function), ENSO_INVALID (a symbol without a size),
 * ENSO_TOO_LARGE, ENSO_NO_MEMORY. Sentences name the file and the node, tensor or input. */
enum enso_status enso_onnx_load(const char *path, const struct enso_onnx_options *options,
                                struct enso_graph **ret_graph,
                                struct enso_error *err) ENSO_MUST_CHECK;

/* A file that holds one serialized TensorProto, as ONNX's tests keep inputs and outputs. Floats of
 * any width come as F32. ret_tensor->data is the caller's to enso_free; so is *ret_name (which may
 * be NULL, "" when the tensor has none). */
enum enso_status enso_onnx_load_tensor(const char *path, struct enso_tensor *ret_tensor,
                                       char **ret_name, struct enso_error *err) ENSO_MUST_CHECK;

#endif
