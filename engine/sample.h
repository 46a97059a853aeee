/* SPDX-License-Identifier: Apache-2.0
 *
 * A sample: the unit that is queued, batched and run. Flat data only (ids, arrays, tensors), no
 * pointers into requests or JSON, so that what crosses to a lane could live in another process.
 *
 * Made by pre-processing (any thread), owned by the job that carries it; while a batch runs only
 * the lane touches it. Ragged models read tokens; dense models read inputs.
 */
#ifndef ENSO_ENGINE_SAMPLE_H
#define ENSO_ENGINE_SAMPLE_H

#include "base/memory.h"
#include "engine/tensor.h"

struct enso_sample {
    struct enso_arena arena; /* holds everything below, outputs too */

    /* ragged: one sequence */
    uint32_t n_tokens; /* 0 for dense samples */
    int32_t *tokens;   /* [n_tokens], each below the vocabulary's size */
    int32_t *segments; /* [n_tokens], or NULL for all 0 */

    /* dense: n_items rows; dimension 0 of every input is n_items where the model batches */
    uint32_t n_items;           /* >= 1 for dense samples, 1 for ragged */
    struct enso_tensor *inputs; /* in the order of the model's inputs; a picture: U8
                                   [1, height, width, channels], whatever that input declares */
    uint32_t n_inputs;

    /* what the caller wants of the outputs */
    bool want_raw;    /* classification: logits instead of probabilities */
    bool want_tokens; /* embeddings: one row per token instead of a pooled vector */
    bool want_own;    /* dense: all of the graph's own outputs, as they are */

    /* set by the run: the task's outputs for this sample alone, in the order of the model's
     * outputs (classification [1 or n_items, C] F32; embeddings [1, D] or [n_tokens, D]) */
    struct enso_tensor *outputs;
    uint32_t n_outputs;

    bool truncated;        /* input was cut to the model's length */
    uint32_t n_characters; /* of the input text, for reports */
};

/* Zeroed, with n_items 1; NULL when out of memory. */
struct enso_sample *enso_sample_create(void) ENSO_MUST_CHECK;
void enso_sample_destroy(struct enso_sample *sample); /* NULL is fine */

/* What the sample costs: tokens of a ragged one, items of a dense one. */
static inline uint32_t enso_sample_cost(const struct enso_sample *s)
{
    return s->n_tokens != 0 ? s->n_tokens : s->n_items;
}

#endif
