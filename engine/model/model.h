/* SPDX-License-Identifier: Apache-2.0
 *
 * A model: program, tokenizer or image spec, task, labels and limits, loaded from a folder (or one
 * ONNX file). Immutable once loaded and reference-counted; the last unref must come from a thread
 * that may free much memory (the loader).
 *
 * The way of an input:  encode_* (any thread) → struct enso_sample → run (a lane, a batch of
 * samples of one model) → sample->outputs, already in the task's terms:
 *   classification  one F32 [n_items, n_labels]: probabilities (softmax, or sigmoid for multi-label
 *                   models), or logits with sample->want_raw
 *   embedding       one F32 [1, D] (pooled), or [n_tokens, D] with sample->want_tokens
 *   tensors         the graph's own outputs (any dense model with sample->want_own)
 *
 * Kinds of folder, first match wins:
 *   modules.json                 sentence-transformers (Transformer, Pooling, Dense, Normalize)
 *   config.json + safetensors    Hugging Face: BERT and DistilBERT, bare or for classification
 *   ensod.json and/or *.onnx     an ONNX graph; ensod.json or preprocessor_config.json beside it
 *                                say how pictures become its input, else it is driven by tensors
 */
#ifndef ENSO_ENGINE_MODEL_MODEL_H
#define ENSO_ENGINE_MODEL_MODEL_H

#include "base/error.h"
#include "engine/backend.h"
#include "engine/sample.h"

enum enso_task {
    ENSO_TASK_TEXT_CLASSIFICATION,
    ENSO_TASK_IMAGE_CLASSIFICATION,
    ENSO_TASK_EMBEDDING, /* "feature-extraction" */
    ENSO_TASK_TENSORS,   /* a graph driven by its own inputs and outputs */
    ENSO_N_TASKS
};
/* The Hugging Face pipeline name: "text-classification", "image-classification",
 * "feature-extraction", "tensors". */
const char *enso_task_name(enum enso_task task);

/* What a model's values between operators shall be (engine/model/precision.c). AUTO: what suits
 * device and weights. A half type that the device does not compute in, or that cannot hold the
 * weights, is ENSO_INVALID. */
enum enso_model_dtype {
    ENSO_MODEL_DTYPE_AUTO,
    ENSO_MODEL_DTYPE_FP32,
    ENSO_MODEL_DTYPE_BF16,
    ENSO_MODEL_DTYPE_FP16,
};

struct enso_model_options {
    const char *path; /* folder, or an .onnx file */
    const char *id;   /* the name it is served under */
    const struct enso_backend *backend;
    struct enso_device *device;
    uint64_t max_pixels; /* of one encoded picture; 0 = 64 Mi */
    enum enso_model_dtype dtype;
    bool fast_gelu;       /* erf GELU by tanh where a half type computes it */
    bool batch_invariant; /* an item's bits shall not depend on its batch, at the price of speed */
};

struct enso_tensor_info {
    const char *name;
    enum enso_dtype dtype;
    uint8_t rank;
    int64_t dims[ENSO_MAX_RANK]; /* -1: the batch dimension */
};

/* Facts, all borrowed for the model's life. */
struct enso_model_info {
    const char *id, *path;
    const char *format;       /* "safetensors", "onnx" */
    const char *architecture; /* "BertForSequenceClassification", or the graph's name */
    enum enso_task task;
    char device[64];          /* "cpu" */
    const char *dtype;        /* compute type: "float32", "bfloat16", "float16" */
    const char *dtype_reason; /* why it is not the first choice of dtype auto; or NULL */
    uint64_t weight_bytes;    /* held on the device */
    uint64_t file_bytes;      /* of the weights in their file */
    double load_seconds;
    bool batch_invariant; /* the same input gives the same bits, whatever it is batched with */
    bool batched;         /* false: one sample a batch */

    /* text */
    bool takes_text;
    uint32_t max_tokens; /* special tokens included */
    uint32_t vocabulary_size;

    /* pictures */
    bool takes_images;
    uint32_t image_height, image_width, image_channels; /* as the graph sees them */

    /* classification */
    uint32_t n_labels;
    const char *const *labels; /* [n_labels] */
    bool multi_label;          /* sigmoid instead of softmax */

    /* embeddings */
    uint32_t dimensions;
    const char *pooling; /* "mean", "cls", "max", "last" */
    bool pooling_given;  /* by modules.json; else the mean is ensod's choice */
    bool normalized;

    /* the graph's own borders (KServe V2) */
    const struct enso_tensor_info *inputs, *outputs;
    size_t n_inputs, n_outputs;
};

struct enso_model;     /* opaque */
struct enso_tokenizer; /* engine/text/tokenizer.h */

/* Load, validate and bind a model. Reads files, takes long, any thread but a lane or the loop.
 * Errors are sentences that name the file and the remedy (CORRUPT, UNSUPPORTED, NOT_FOUND...). */
int enso_model_load(const struct enso_model_options *options, struct enso_model **ret_model,
                    struct enso_error *err);
struct enso_model *enso_model_ref(struct enso_model *model);
struct enso_model *enso_model_unref(struct enso_model *model); /* returns NULL; NULL is fine */
const struct enso_model_info *enso_model_info(const struct enso_model *model);
const struct enso_tokenizer *enso_model_tokenizer(const struct enso_model *model); /* or NULL */

struct enso_sample_options {
    bool truncate;       /* cut what is too long; else too long is ENSO_INVALID, code too_long */
    bool truncate_left;  /* cut at the front */
    bool want_raw;       /* see sample.h */
    bool want_tokens;    /* see sample.h */
    uint32_t dimensions; /* reserved for Matryoshka cuts by the caller; not read here */
};

/* Inputs become samples; any thread, thread-safe. The caller owns *ret_sample.
 * ENSO_INVALID for wrong content, ENSO_TOO_LARGE over a limit, ENSO_UNSUPPORTED when the model does
 * not take that kind of input. */
int enso_model_encode_text(const struct enso_model *model, const char *text, size_t size,
                           const char *pair, size_t pair_size, /* pair may be NULL */
                           const struct enso_sample_options *options,
                           struct enso_sample **ret_sample, struct enso_error *err);
/* Token ids as they are, without special tokens added. */
int enso_model_encode_tokens(const struct enso_model *model, const int64_t *ids, size_t n,
                             const struct enso_sample_options *options,
                             struct enso_sample **ret_sample, struct enso_error *err);
/* An encoded picture (JPEG, PNG, WebP), which becomes bytes (sample.h). */
int enso_model_encode_image(const struct enso_model *model, const void *bytes, size_t size,
                            const struct enso_sample_options *options,
                            struct enso_sample **ret_sample, struct enso_error *err);
/* Tensors for the graph's own inputs, matched by position with info->inputs; data is copied. All
 * must agree in dimension 0 where the model is batched (it becomes n_items). */
int enso_model_encode_tensors(const struct enso_model *model, const struct enso_tensor *inputs,
                              size_t n, struct enso_sample **ret_sample, struct enso_error *err);
/* A sample of typical (scale 0..1 of the largest) size, for warming up; a picture as bytes. */
int enso_model_warmup_sample(const struct enso_model *model, double scale,
                             struct enso_sample **ret_sample, struct enso_error *err);

/* Have the device keep what n_lanes lanes take, each for the largest batch that is certain to come:
 * of max_tokens (texts) and max_items where these are not 0, of one largest sample at least. Such a
 * batch finds its memory from then on, whatever else the device is asked for. *ret_bytes: what that
 * comes to, also with ENSO_NO_MEMORY when it is not there; 0 on ordinary memory. Once, before lanes
 * run it. */
int enso_model_promise(struct enso_model *model, unsigned n_lanes, uint64_t max_tokens,
                       uint64_t max_items, size_t *ret_bytes,
                       struct enso_error *err) ENSO_MUST_CHECK;

/* A lane is about to close: free what the model keeps for it. Not while a batch runs on it. */
void enso_model_forget_lane(struct enso_model *model, const struct enso_lane *lane);

/* Start a batch in a free slot of the lane, and wait for it: finish, with the same samples, fills
 * every sample's outputs. The slot is free again when begin failed, and after finish. Called by the
 * lane's thread; signatures are those of struct enso_runner (batching/runner.h). */
int enso_model_begin(void *model, struct enso_lane *lane, unsigned slot,
                     struct enso_sample *const *samples, size_t n, const struct enso_pace *pace,
                     struct enso_error *err);
int enso_model_finish(void *model, struct enso_lane *lane, unsigned slot,
                      struct enso_sample *const *samples, size_t n, struct enso_spent *ret_spent,
                      struct enso_error *err);
/* Both at once in slot 0, which must be free. */
int enso_model_run(struct enso_model *model, struct enso_lane *lane,
                   struct enso_sample *const *samples, size_t n, struct enso_error *err);

#endif
