/* SPDX-License-Identifier: Apache-2.0
 *
 * BERT (Devlin et al. 2018, arXiv:1810.04805) as the transformers library lays it out: post-norm
 * encoder, learned absolute positions, pooler with tanh under the classifier.
 */
#include "engine/architectures/architecture.h"

#include <stdio.h>
#include <string.h>

/* Variants that would load and answer wrongly. */
static void refuse_variants(struct enso_builder *b)
{
    const char *positions =
        json_string_value(json_object_get(b->config, "position_embedding_type"));

    if (positions != NULL && strcmp(positions, "absolute") != 0)
        (void)enso_builder_fail(b, ENSO_UNSUPPORTED,
                                "config.json: position_embedding_type '%s' is not supported; ensod "
                                "knows 'absolute'",
                                positions);
    if (json_is_true(json_object_get(b->config, "is_decoder")))
        (void)enso_builder_fail(b, ENSO_UNSUPPORTED,
                                "config.json: is_decoder is true, but ensod serves BERT as an "
                                "encoder only");
}

static int embeddings(struct enso_builder *b, const struct enso_encoder_inputs *in,
                      const struct enso_encoder *e, float epsilon)
{
    int gamma, beta, node, y;
    int words = enso_builder_weight(b, 2, (int64_t[]){e->vocabulary_size, e->hidden_size},
                                    "embeddings.word_embeddings.weight");
    int positions = enso_builder_weight(b, 2, (int64_t[]){e->max_positions, e->hidden_size},
                                        "embeddings.position_embeddings.weight");
    int segments = enso_builder_weight(b, 2, (int64_t[]){e->n_segments, e->hidden_size},
                                       "embeddings.token_type_embeddings.weight");

    enso_builder_norm_weights(b, "embeddings.LayerNorm", e->hidden_size, &gamma, &beta);
    y = enso_builder_node(
        b, ENSO_OP_EMBEDDING, "embeddings",
        (int[]){in->tokens, words, in->positions, positions, in->segments, segments, gamma, beta},
        8, &node);
    enso_builder_set_float(b, node, "epsilon", epsilon);
    return y;
}

static void bert_encoder(struct enso_builder *b, const struct enso_encoder_inputs *in,
                         struct enso_encoder *e)
{
    int64_t n_layers = enso_builder_config_int(b, "num_hidden_layers", 1, 1000, -1);
    int64_t n_heads = enso_builder_config_int(b, "num_attention_heads", 1, 1000, -1);
    int64_t inner = enso_builder_config_int(b, "intermediate_size", 1, 1 << 24, -1);
    float epsilon = (float)enso_builder_config_float(b, "layer_norm_eps", 1e-12);
    enum enso_activation activation = enso_builder_config_activation(b, "hidden_act");
    int x;

    refuse_variants(b);
    e->hidden_size = enso_builder_config_int(b, "hidden_size", 1, 1 << 24, -1);
    e->vocabulary_size = enso_builder_config_int(b, "vocab_size", 1, 1 << 30, -1);
    e->max_positions = enso_builder_config_int(b, "max_position_embeddings", 1, 1 << 24, -1);
    e->n_segments = enso_builder_config_int(b, "type_vocab_size", 1, 256, 2);
    if (b->status == ENSO_OK && e->hidden_size % n_heads != 0)
        (void)enso_builder_fail(b, ENSO_CORRUPT,
                                "config.json: hidden_size %lld is not a multiple of "
                                "num_attention_heads %lld",
                                (long long)e->hidden_size, (long long)n_heads);
    x = embeddings(b, in, e, epsilon);
    for (int layer = 0; b->status == ENSO_OK && layer < n_layers; layer++) {
        char name[96];
        int y;

        (void)snprintf(name, sizeof name, "encoder.layer.%d.attention.self", layer);
        y = enso_builder_attention(b, name, (const char *const[]){"query", "key", "value"}, x,
                                   in->starts, in->work, e->hidden_size, n_heads);
        (void)snprintf(name, sizeof name, "encoder.layer.%d.attention.output.dense", layer);
        y = enso_builder_linear(b, name, y, e->hidden_size, e->hidden_size, ENSO_NO_VALUE,
                                ENSO_ACTIVATION_NONE);
        (void)snprintf(name, sizeof name, "encoder.layer.%d.attention.output.LayerNorm", layer);
        x = enso_builder_layer_norm(b, name, y, x, e->hidden_size, epsilon);
        (void)snprintf(name, sizeof name, "encoder.layer.%d.intermediate.dense", layer);
        y = enso_builder_linear(b, name, x, inner, e->hidden_size, ENSO_NO_VALUE, activation);
        (void)snprintf(name, sizeof name, "encoder.layer.%d.output.dense", layer);
        y = enso_builder_linear(b, name, y, e->hidden_size, inner, ENSO_NO_VALUE,
                                ENSO_ACTIVATION_NONE);
        (void)snprintf(name, sizeof name, "encoder.layer.%d.output.LayerNorm", layer);
        x = enso_builder_layer_norm(b, name, y, x, e->hidden_size, epsilon);
    }
    e->hidden = x;
}

static int bert_classifier(struct enso_builder *b, const struct enso_encoder_inputs *in,
                           const struct enso_encoder *e, int64_t n_labels)
{
    int node;
    int x = enso_builder_node(b, ENSO_OP_SEQUENCE_POOL, "pooler", (int[]){e->hidden, in->starts}, 2,
                              &node);

    enso_builder_set_string(b, node, "mode", "cls");
    x = enso_builder_linear(b, "pooler.dense", x, e->hidden_size, e->hidden_size, ENSO_NO_VALUE,
                            ENSO_ACTIVATION_TANH);
    b->prefix[0] = '\0'; /* the classifier stands beside the encoder */
    return enso_builder_linear(b, "classifier", x, n_labels, e->hidden_size, ENSO_NO_VALUE,
                               ENSO_ACTIVATION_NONE);
}

const struct enso_architecture enso_architecture_bert = {
    .model_type = "bert",
    .prefix = "bert.",
    .encoder = bert_encoder,
    .classifier = bert_classifier,
};
