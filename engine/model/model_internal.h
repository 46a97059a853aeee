/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a model, shared by the files of engine/model.
 */
#ifndef ENSO_ENGINE_MODEL_MODEL_INTERNAL_H
#define ENSO_ENGINE_MODEL_MODEL_INTERNAL_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "engine/formats/weights_file.h"
#include "engine/image/prepare.h"
#include "engine/model/model.h"
#include "engine/program/context.h"
#include "engine/program/program.h"
#include "engine/text/tokenizer.h"

/* What one lane keeps for one model. */
struct enso_model_lane {
    const struct enso_lane *lane; /* key only, may be gone */
    struct enso_context *context;
    bool promised; /* it has the memory of one of the model's lanes */
    struct enso_model_lane *next;
};

struct enso_model {
    atomic_uint refs;
    struct enso_model_info info;
    struct enso_arena arena; /* strings and tables of info */
    const struct enso_backend *backend;
    struct enso_device *device;
    struct enso_program *program;
    uint64_t max_pixels;
    enum enso_dtype stored; /* of most of the weights: F32, F16 or BF16 */
    /* What weights are read from, until bound: then checked for changes and let go. */
    struct enso_weights_file **files;
    size_t n_files, files_capacity;

    struct enso_tokenizer *tokenizer;
    int64_t n_segments; /* segment ids are below; 0 or 1: none are given to the graph */
    bool lower_case;    /* texts become lower case before the tokenizer sees them */
    char *prompt;       /* put in front of every text (sentence-transformers), or NULL */
    size_t prompt_size;

    struct enso_image_spec image; /* when info.takes_images */
    float pixel_values[ENSO_IMAGE_TABLE_SIZE];
    int label_output;           /* graph output with the logits */
    bool outputs_probabilities; /* the graph ends in softmax or sigmoid itself */
    bool outputs_log_probabilities;

    pthread_mutex_t lock; /* guards lanes and n_kept */
    struct enso_model_lane *lanes;
    struct enso_context_need promised; /* to each lane, by the device */
    unsigned n_promised, n_kept;       /* lanes that were promised it; and that have not come yet */
};

/* Loaders, one per kind of folder: fill the model and *ret_graph (the caller's). */
int enso__model_load_text(struct enso_model *m, const char *path, struct enso_graph **ret_graph,
                          struct enso_error *err);
int enso__model_load_onnx(struct enso_model *m, const char *path, struct enso_graph **ret_graph,
                          struct enso_error *err);
/* F16 or BF16 when most of the graph's floats are stored so, else F32. Before passes, which fold
 * some of them into others. */
enum enso_dtype enso__model_stored_type(const struct enso_graph *g);
/* Bring a graph to the type in which it is to compute on the model's device; sets info.dtype.
 * *ret_lowered: it is not fp32. */
int enso__model_lower(struct enso_model *m, const struct enso_model_options *options,
                      struct enso_graph *g, bool *ret_lowered, struct enso_error *err);
/* Remember a file (one count more) that must not change until the model is loaded. */
int enso__model_hold_file(struct enso_model *m, struct enso_weights_file *file,
                          struct enso_error *err);
/* After binding: does a row give the same bits alone and in a batch? Sets info.batched. */
int enso__model_check_batching(struct enso_model *m, struct enso_error *err);
void enso__model_lanes_done(struct enso_model *m);

/* n pictures of the model as bytes, U8 [n, height, width, channels]. */
struct enso_tensor enso__model_pixels(const struct enso_model *m, int64_t n, void *data);

/* The attention's work list of a batch (engine/graph/graph.h): work gets n_entries pairs (sequence,
 * tile), at least starts[n] / 64 + n of them. Longest sequences first, equals in their order. */
void enso__attention_work(const int32_t *starts, size_t n_sequences, size_t n_entries,
                          int32_t *work);

/* Labels out of config.json: id2label, checked against n_labels; LABEL_0... when absent. */
int enso__labels_from_config(struct enso_model *m, const json_t *config, uint32_t n_labels,
                             struct enso_error *err);
/* Labels as a JSON array of strings (ensod.json). */
int enso__labels_from_array(struct enso_model *m, const json_t *array, const char *where,
                            struct enso_error *err);
/* Labels as a text file, one a line. */
int enso__labels_from_file(struct enso_model *m, const char *path, struct enso_error *err);

/* <dir>/<name> is a regular file. */
bool enso__model_has_file(const char *dir, const char *name);
/* Read and parse <dir>/<name>; ENSO_NOT_FOUND when it is absent. */
int enso__model_read_json(const char *dir, const char *name, json_t **ret_json,
                          struct enso_error *err);
/* A string of the model's life. */
const char *enso__model_keep(struct enso_model *m, const char *s);

#define ENSO_PATH_SIZE 4096

#endif
