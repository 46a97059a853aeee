/* SPDX-License-Identifier: Apache-2.0
 *
 * KServe V2 (Open Inference Protocol), shared by its files:
 *
 *   kserve.c         metadata of server and models, names of a model's inputs and outputs
 *   kserve_infer.c   POST .../infer: the request
 *   kserve_tensor.c  tensor data in JSON and in binary form → our own
 *   kserve_answer.c  POST .../infer: the answer
 *
 * A model is driven in one of three ways, chosen by the names of the inputs that are sent:
 *   text    "text" BYTES [n], and "text_pair"; gives "probabilities" FP32 [n, C] and "label" BYTES
 *           [n], or "embedding" FP32 [n, D]
 *   images  "image" BYTES [n] (encoded pictures); gives the same
 *   own     the graph's inputs and outputs by their own names
 *
 * Source: kserve/open-inference-protocol, and Triton's extensions binary_tensor_data and
 * classification.
 */
#ifndef ENSO_SERVER_KSERVE_H
#define ENSO_SERVER_KSERVE_H

#include <jansson.h>

#include "server/request.h"

/* Datatypes are enum enso_dtype, and one more. */
#define ENSO_V2_BYTES ENSO_N_DTYPES

enum enso_v2_drive { ENSO_V2_TEXT, ENSO_V2_IMAGES, ENSO_V2_OWN };

/* A name that stands at a model's border. */
struct enso_v2_border {
    const char *name;
    int dtype; /* enum enso_dtype or ENSO_V2_BYTES */
    uint8_t rank;
    int64_t dims[ENSO_MAX_RANK]; /* -1: free */
    bool optional;
};

/* The i-th input or output of a model driven in a way; false past the last one. */
bool enso_v2_input(const struct enso_model_info *info, enum enso_v2_drive drive, size_t i,
                   struct enso_v2_border *ret);
bool enso_v2_output(const struct enso_model_info *info, enum enso_v2_drive drive, size_t i,
                    struct enso_v2_border *ret);
/* "FP32", "BYTES"; and back, false when unknown. */
const char *enso_v2_dtype_name(int dtype);
bool enso_v2_dtype_parse(const char *name, int *ret_dtype);

/* "{version}" of the path must be the one there is. */
int enso_v2_check_version(const struct enso_request *req, const char *model,
                          struct enso_error *err);

/* A tensor as it was sent, borrowed from the request. */
struct enso_v2_tensor {
    const char *name;
    char path[32]; /* "inputs[2]" */
    int dtype;     /* enum enso_dtype or ENSO_V2_BYTES */
    uint8_t rank;
    int64_t dims[ENSO_MAX_RANK];
    size_t count;         /* their product */
    const json_t *data;   /* an array, flat or nested; NULL when binary */
    const uint8_t *bytes; /* binary: little-endian, row-major */
    size_t size;
};

/* An element of a BYTES tensor, borrowed from the request; size bytes. */
struct enso_v2_string {
    const char *data;
    size_t size;
};

/* The values as a tensor of type `wanted`: the same type, or both of them float types. In the
 * request's memory, or for binary data where it lies (then perhaps not aligned: copy, do not read).
 * ENSO_INVALID naming what is wrong with path and element. */
int enso_v2_read_values(struct enso_request *req, const struct enso_v2_tensor *t,
                        enum enso_dtype wanted, struct enso_tensor *ret, struct enso_error *err);

/* The strings of a BYTES tensor, [t->count]. As text they must be UTF-8 (JSON strings are). */
int enso_v2_read_strings(struct enso_request *req, const struct enso_v2_tensor *t, bool text,
                         struct enso_v2_string **ret, struct enso_error *err);

/* An output that is to be given. */
struct enso_v2_wanted {
    size_t index; /* for enso_v2_output */
    bool binary;
    uint32_t classification; /* 0, or: the best so many as "score:index:label" */
};

/* The dialect's own part of an infer request. */
struct enso_v2_infer {
    enum enso_v2_drive drive;
    const char *id; /* echoed, or NULL */
    size_t id_size;
    struct enso_v2_wanted *wanted;
    size_t n_wanted;
};

#endif
