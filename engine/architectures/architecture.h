/* SPDX-License-Identifier: Apache-2.0
 *
 * Hugging Face architecture families: from config.json and safetensors to a graph made of fused
 * operators. One file per family; adding one is that file and a row in architecture.c.
 *
 * Every text encoder's graph has inputs "tokens", "positions", "segments" (I32 [T]) and "starts"
 * (I32 [B+1]) in this order (an architecture without segments ignores them), and gives the hidden
 * states [T, H]; heads are put on top by engine/model.
 */
#ifndef ENSO_ENGINE_ARCHITECTURES_ARCHITECTURE_H
#define ENSO_ENGINE_ARCHITECTURES_ARCHITECTURE_H

#include "engine/architectures/builder.h"

struct enso_encoder_inputs {
    int tokens, positions, segments, starts, work; /* value numbers; work: attention_work */
};

struct enso_encoder {
    int hidden; /* value: last hidden states [T, hidden_size] */
    int64_t hidden_size;
    int64_t max_positions;   /* longest sequence, special tokens included */
    int64_t vocabulary_size; /* rows of the word table */
    int64_t n_segments;      /* 0: the model has no segments */
};

struct enso_architecture {
    const char *model_type; /* config.json's "model_type" */
    const char *prefix;     /* of tensor names under a head: "bert." */
    /* The encoder from embeddings to the last hidden states. */
    void (*encoder)(struct enso_builder *b, const struct enso_encoder_inputs *in,
                    struct enso_encoder *ret_encoder);
    /* Logits [B, n_labels] of the sequence classification head. */
    int (*classifier)(struct enso_builder *b, const struct enso_encoder_inputs *in,
                      const struct enso_encoder *encoder, int64_t n_labels);
};

/* NULL when model_type is not served. */
const struct enso_architecture *enso_architecture_find(const char *model_type);
/* "bert, distilbert", for error messages. */
const char *enso_architecture_list(void);

extern const struct enso_architecture enso_architecture_bert, enso_architecture_distilbert;

#endif
