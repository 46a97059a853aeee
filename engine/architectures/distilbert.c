/* SPDX-License-Identifier: Apache-2.0
 *
 * DistilBERT (Sanh et al. 2019, arXiv:1910.01108) as the transformers library lays it out: BERT
 * without segments and pooler, a ReLU layer under the classifier.
 */
#include "engine/architectures/architecture.h"

#include <stdio.h>

static void distilbert_encoder(struct enso_builder *b, const struct enso_encoder_inputs *in,
                               struct enso_encoder *e)
{
    static const float epsilon = 1e-12f; /* fixed in the reference */
    int64_t n_layers = enso_builder_config_int(b, "n_layers", 1, 1000, -1);
    int64_t n_heads = enso_builder_config_int(b, "n_heads", 1, 1000, -1);
    int64_t inner = enso_builder_config_int(b, "hidden_dim", 1, 1 << 24, -1);
    enum enso_activation activation = enso_builder_config_activation(b, "activation");
    int words, positions, gamma, beta, node, x;

    e->hidden_size = enso_builder_config_int(b, "dim", 1, 1 << 24, -1);
    e->vocabulary_size = enso_builder_config_int(b, "vocab_size", 1, 1 << 30, -1);
    e->max_positions = enso_builder_config_int(b, "max_position_embeddings", 1, 1 << 24, -1);
    e->n_segments = 0;
    if (b->status == ENSO_OK && e->hidden_size % n_heads != 0)
        (void)enso_builder_fail(b, ENSO_CORRUPT,
                                "config.json: dim %lld is not a multiple of n_heads %lld",
                                (long long)e->hidden_size, (long long)n_heads);
    words = enso_builder_weight(b, 2, (int64_t[]){e->vocabulary_size, e->hidden_size},
                                "embeddings.word_embeddings.weight");
    positions = enso_builder_weight(b, 2, (int64_t[]){e->max_positions, e->hidden_size},
                                    "embeddings.position_embeddings.weight");
    enso_builder_norm_weights(b, "embeddings.LayerNorm", e->hidden_size, &gamma, &beta);
    x = enso_builder_node(b, ENSO_OP_EMBEDDING, "embeddings",
                          (int[]){in->tokens, words, in->positions, positions, ENSO_NO_VALUE,
                                  ENSO_NO_VALUE, gamma, beta},
                          8, &node);
    enso_builder_set_float(b, node, "epsilon", epsilon);
    for (int layer = 0; b->status == ENSO_OK && layer < n_layers; layer++) {
        char name[96];
        int y;

        (void)snprintf(name, sizeof name, "transformer.layer.%d.attention", layer);
        y = enso_builder_attention(b, name, (const char *const[]){"q_lin", "k_lin", "v_lin"}, x,
                                   in->starts, in->work, e->hidden_size, n_heads);
        (void)snprintf(name, sizeof name, "transformer.layer.%d.attention.out_lin", layer);
        y = enso_builder_linear(b, name, y, e->hidden_size, e->hidden_size, ENSO_NO_VALUE,
                                ENSO_ACTIVATION_NONE);
        (void)snprintf(name, sizeof name, "transformer.layer.%d.sa_layer_norm", layer);
        x = enso_builder_layer_norm(b, name, y, x, e->hidden_size, epsilon);
        (void)snprintf(name, sizeof name, "transformer.layer.%d.ffn.lin1", layer);
        y = enso_builder_linear(b, name, x, inner, e->hidden_size, ENSO_NO_VALUE, activation);
        (void)snprintf(name, sizeof name, "transformer.layer.%d.ffn.lin2", layer);
        y = enso_builder_linear(b, name, y, e->hidden_size, inner, ENSO_NO_VALUE,
                                ENSO_ACTIVATION_NONE);
        (void)snprintf(name, sizeof name, "transformer.layer.%d.output_layer_norm", layer);
        x = enso_builder_layer_norm(b, name, y, x, e->hidden_size, epsilon);
    }
    e->hidden = x;
}

static int distilbert_classifier(struct enso_builder *b, const struct enso_encoder_inputs *in,
                                 const struct enso_encoder *e, int64_t n_labels)
{
    int node;
    int x = enso_builder_node(b, ENSO_OP_SEQUENCE_POOL, "first_token",
                              (int[]){e->hidden, in->starts}, 2, &node);

    enso_builder_set_string(b, node, "mode", "cls");
    b->prefix[0] = '\0'; /* the head stands beside the encoder */
    x = enso_builder_linear(b, "pre_classifier", x, e->hidden_size, e->hidden_size, ENSO_NO_VALUE,
                            ENSO_ACTIVATION_RELU);
    return enso_builder_linear(b, "classifier", x, n_labels, e->hidden_size, ENSO_NO_VALUE,
                               ENSO_ACTIVATION_NONE);
}

const struct enso_architecture enso_architecture_distilbert = {
    .model_type = "distilbert",
    .prefix = "distilbert.",
    .encoder = distilbert_encoder,
    .classifier = distilbert_classifier,
};
