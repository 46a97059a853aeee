/* SPDX-License-Identifier: Apache-2.0
 *
 * Text models from Hugging Face folders: the architecture's encoder and, on top of it, either its
 * classifier or a pooled embedding. A sentence-transformers folder (modules.json) says how to pool,
 * project and normalise; a bare encoder is pooled by the mean and not normalised.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/architectures/architecture.h"
#include "engine/model/model_internal.h"

/* One text folder while it is loaded. */
struct text_folder {
    struct enso_model *model;
    const char *top;           /* where modules.json is */
    char base[ENSO_PATH_SIZE]; /* where config.json is */
    json_t *config;
    struct enso_safetensors *weights;
    struct enso_graph *graph;
    struct enso_builder builder;
    struct enso_encoder_inputs in;
    struct enso_encoder encoder;
    struct enso_error *err;
};

static const char *json_text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* --- modules.json ------------------------------------------------------------------------- */

static int module_pooling(struct text_folder *f, const char *dir, int *x, int64_t *width)
{
    static const struct {
        const char *key, *mode;
    } modes[] = {{"pooling_mode_cls_token", "cls"},
                 {"pooling_mode_max_tokens", "max"},
                 {"pooling_mode_mean_tokens", "mean"},
                 {"pooling_mode_lasttoken", "last"}};
    static const char *const others[] = {"pooling_mode_mean_sqrt_len_tokens",
                                         "pooling_mode_weightedmean_tokens"};
    struct enso_builder *b = &f->builder;
    int pooled[ENSO_ARRAY_SIZE(modes)], node = -1;
    size_t n = 0;
    json_t *config;
    int st = enso__model_read_json(dir, "config.json", &config, f->err);

    if (st != ENSO_OK)
        return st;
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(others); i++)
        if (json_is_true(json_object_get(config, others[i])))
            (void)enso_builder_fail(b, ENSO_UNSUPPORTED,
                                    "%s/config.json: %s is not supported; ensod pools by cls, "
                                    "mean, max and last token",
                                    dir, others[i]);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(modes); i++) {
        if (!json_is_true(json_object_get(config, modes[i].key)))
            continue;
        pooled[n] = enso_builder_node(b, ENSO_OP_SEQUENCE_POOL, modes[i].mode,
                                      (int[]){*x, f->in.starts}, 2, &node);
        enso_builder_set_string(b, node, "mode", modes[i].mode);
        f->model->info.pooling = n == 0 ? modes[i].mode : "concatenated";
        n++;
    }
    json_decref(config);
    if (n == 0)
        (void)enso_builder_fail(b, ENSO_CORRUPT, "%s/config.json: no pooling mode is true", dir);
    if (b->status != ENSO_OK)
        return b->status;
    *x = pooled[0];
    if (n > 1) {
        *x = enso_builder_node(b, ENSO_OP_CONCAT, "pooled", pooled, n, &node);
        enso_builder_set_int(b, node, "axis", 1);
        *width *= (int64_t)n;
    }
    return b->status;
}

static int module_dense(struct text_folder *f, const char *dir, int index, int *x, int64_t *width)
{
    struct enso_builder inner = f->builder;
    enum enso_activation activation = ENSO_ACTIVATION_NONE;
    struct enso_safetensors *weights = NULL;
    const char *function;
    int64_t n_in, n_out;
    json_t *config;
    int bias, weight;
    int st = enso__model_read_json(dir, "config.json", &config, f->err);

    if (st != ENSO_OK)
        return st;
    n_in = json_integer_value(json_object_get(config, "in_features"));
    n_out = json_integer_value(json_object_get(config, "out_features"));
    function = json_text(config, "activation_function");
    if (function != NULL && strstr(function, "Tanh") != NULL)
        activation = ENSO_ACTIVATION_TANH;
    else if (function != NULL && strstr(function, "Identity") == NULL)
        st = enso_error_set(f->err, ENSO_UNSUPPORTED,
                            "%s/config.json: activation_function '%s' is not supported; ensod "
                            "knows Tanh and Identity",
                            dir, function);
    if (st == ENSO_OK && (n_in != *width || n_out < 1))
        st = enso_error_set(f->err, ENSO_CORRUPT,
                            "%s/config.json: in_features is %lld, but %lld come from the module "
                            "before it",
                            dir, (long long)n_in, (long long)*width);
    if (st == ENSO_OK)
        st = enso_safetensors_open(dir, &weights, f->err);
    if (st == ENSO_OK) {
        inner.weights = weights;
        inner.prefix[0] = '\0';
        (void)snprintf(inner.scope, sizeof inner.scope, "module%d.", index);
        weight = enso_builder_weight(&inner, 2, (int64_t[]){n_out, n_in}, "linear.weight");
        bias = json_is_false(json_object_get(config, "bias"))
                   ? ENSO_NO_VALUE
                   : enso_builder_weight(&inner, 1, &n_out, "linear.bias");
        *x = enso_builder_linear_of(&inner, "dense", *x, weight, bias, ENSO_NO_VALUE, activation);
        *width = n_out;
        st = inner.status;
        f->builder.status = st;
    }
    enso_safetensors_close(weights);
    json_decref(config);
    return st;
}

static int module_normalize(struct text_folder *f, int *x)
{
    int node = -1;

    *x = enso_builder_node(&f->builder, ENSO_OP_L2_NORMALIZE, "normalize", x, 1, &node);
    f->model->info.normalized = true;
    return f->builder.status;
}

/* A module's folder below the top; refuses paths that leave it. */
static int module_dir(const struct text_folder *f, const json_t *module, char dir[ENSO_PATH_SIZE])
{
    const char *path = json_text(module, "path");

    if (path == NULL || path[0] == '/' || strstr(path, "..") != NULL)
        return enso_error_set(f->err, ENSO_CORRUPT,
                              "%s/modules.json: 'path' must be a folder below it", f->top);
    if (snprintf(dir, ENSO_PATH_SIZE, "%s%s%s", f->top, path[0] != '\0' ? "/" : "", path) >=
        ENSO_PATH_SIZE)
        return enso_error_set(f->err, ENSO_INVALID, "the path '%.200s...' is too long", f->top);
    return ENSO_OK;
}

/* The modules after the Transformer, in order. */
static int apply_modules(struct text_folder *f, const json_t *modules, int *x, int64_t *width)
{
    for (size_t i = 1; i < json_array_size(modules); i++) {
        const json_t *module = json_array_get(modules, i);
        const char *type = json_text(module, "type");
        const char *kind = type != NULL && strrchr(type, '.') != NULL ? strrchr(type, '.') + 1 : "";
        char dir[ENSO_PATH_SIZE];
        int st = module_dir(f, module, dir);

        if (st != ENSO_OK)
            return st;
        if (strcmp(kind, "Pooling") == 0)
            st = module_pooling(f, dir, x, width);
        else if (strcmp(kind, "Dense") == 0)
            st = module_dense(f, dir, (int)i, x, width);
        else if (strcmp(kind, "Normalize") == 0)
            st = module_normalize(f, x);
        else
            st = enso_error_set(f->err, ENSO_UNSUPPORTED,
                                "%s/modules.json: module type '%s' is not supported; ensod knows "
                                "Transformer, Pooling, Dense and Normalize",
                                f->top, type != NULL ? type : "");
        if (st != ENSO_OK)
            return st;
    }
    return ENSO_OK;
}

/* The pooled embedding: by modules.json, or the plain mean. */
static int build_embedding(struct text_folder *f, const json_t *modules)
{
    struct enso_model *m = f->model;
    int64_t width = f->encoder.hidden_size;
    int x = f->encoder.hidden, st = ENSO_OK, node = -1;

    m->info.pooling_given = modules != NULL;
    if (modules != NULL) {
        st = apply_modules(f, modules, &x, &width);
    } else {
        x = enso_builder_node(&f->builder, ENSO_OP_SEQUENCE_POOL, "mean", (int[]){x, f->in.starts},
                              2, &node);
        enso_builder_set_string(&f->builder, node, "mode", "mean");
        m->info.pooling = "mean";
        st = f->builder.status;
    }
    if (st == ENSO_OK && m->info.pooling == NULL)
        st = enso_error_set(f->err, ENSO_CORRUPT, "%s/modules.json: no Pooling module", f->top);
    if (st == ENSO_OK && (enso_graph_add_output(f->graph, "embedding", x) < 0 ||
                          enso_graph_add_output(f->graph, "tokens", f->encoder.hidden) < 0))
        st = enso_error_no_memory(f->err, "the graph");
    m->info.task = ENSO_TASK_EMBEDDING;
    m->info.dimensions = (uint32_t)width;
    return st;
}

/* --- the head ------------------------------------------------------------------------------ */

/* Rows of the classifier's weight: the truth about how many labels there are. */
static int count_labels(const struct text_folder *f, int64_t *ret_n)
{
    struct enso_constant c;

    if (!enso_safetensors_find(f->weights, "classifier.weight", &c))
        return enso_error_set(f->err, ENSO_CORRUPT,
                              "tensor 'classifier.weight' is missing, though config.json names a "
                              "sequence classifier");
    if (c.rank != 2 || c.dims[0] < 1 || c.dims[0] > 1000000)
        return enso_error_set(f->err, ENSO_CORRUPT,
                              "tensor 'classifier.weight' must have 1 to 1,000,000 rows");
    *ret_n = c.dims[0];
    return ENSO_OK;
}

static int build_classifier(struct text_folder *f, const struct enso_architecture *architecture)
{
    const char *problem = json_text(f->config, "problem_type");
    int64_t n_labels = 0;
    int logits;
    int st = count_labels(f, &n_labels);

    if (st != ENSO_OK)
        return st;
    logits = architecture->classifier(&f->builder, &f->in, &f->encoder, n_labels);
    if (f->builder.status != ENSO_OK)
        return f->builder.status;
    if (enso_graph_add_output(f->graph, "logits", logits) < 0)
        return enso_error_no_memory(f->err, "the graph");
    f->model->info.task = ENSO_TASK_TEXT_CLASSIFICATION;
    f->model->info.multi_label =
        n_labels == 1 || (problem != NULL && strcmp(problem, "multi_label_classification") == 0);
    return enso__labels_from_config(f->model, f->config, (uint32_t)n_labels, f->err);
}

/* Does config.json (or, where it is silent, the weights) name a sequence classifier? */
static int wants_classifier(const struct text_folder *f, const char *architecture_name,
                            bool *ret_classifier)
{
    static const char *const bare[] = {"Model", "ForMaskedLM", "ForPreTraining"};
    struct enso_constant c;

    if (architecture_name == NULL) {
        *ret_classifier = enso_safetensors_find(f->weights, "classifier.weight", &c);
        return ENSO_OK;
    }
    *ret_classifier = strstr(architecture_name, "ForSequenceClassification") != NULL;
    if (*ret_classifier)
        return ENSO_OK;
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(bare); i++)
        if (strlen(architecture_name) >= strlen(bare[i]) &&
            strcmp(architecture_name + strlen(architecture_name) - strlen(bare[i]), bare[i]) == 0)
            return ENSO_OK;
    return enso_error_set(f->err, ENSO_UNSUPPORTED,
                          "config.json: architecture '%s' is not supported; ensod serves bare "
                          "encoders and ...ForSequenceClassification of: %s",
                          architecture_name, enso_architecture_list());
}

/* --- the folder ---------------------------------------------------------------------------- */

/* The default prompt of sentence-transformers, which goes in front of every text. */
static int read_prompt(struct text_folder *f)
{
    static const char file[] = "config_sentence_transformers.json";
    struct enso_model *m = f->model;
    const char *name, *prompt;
    json_t *config;
    int st;

    if (!enso__model_has_file(f->top, file))
        return ENSO_OK;
    st = enso__model_read_json(f->top, file, &config, f->err);
    if (st != ENSO_OK)
        return st;
    name = json_text(config, "default_prompt_name");
    prompt = name != NULL ? json_text(json_object_get(config, "prompts"), name) : NULL;
    if (prompt != NULL && prompt[0] != '\0') {
        m->prompt = enso_strdup(prompt);
        m->prompt_size = strlen(prompt);
        st = m->prompt != NULL ? ENSO_OK : enso_error_no_memory(f->err, "the default prompt");
    }
    json_decref(config);
    return st;
}

/* model_max_length, and max_seq_length of sentence_bert_config.json. */
static int read_limits(struct text_folder *f, bool sentence_transformers)
{
    struct enso_model *m = f->model;
    uint32_t limit = enso_tokenizer_model_max_length(m->tokenizer);
    json_t *config = NULL;
    int st;

    m->info.max_tokens = (uint32_t)f->encoder.max_positions;
    if (limit != 0)
        m->info.max_tokens = ENSO_MIN(m->info.max_tokens, limit);
    if (!sentence_transformers)
        return ENSO_OK;
    if (enso__model_has_file(f->base, "sentence_bert_config.json")) {
        json_int_t max;

        st = enso__model_read_json(f->base, "sentence_bert_config.json", &config, f->err);
        if (st != ENSO_OK)
            return st;
        max = json_integer_value(json_object_get(config, "max_seq_length"));
        m->lower_case = json_is_true(json_object_get(config, "do_lower_case"));
        json_decref(config);
        if (max < 0 || max > UINT32_MAX)
            return enso_error_set(f->err, ENSO_CORRUPT,
                                  "sentence_bert_config.json: max_seq_length is out of range");
        if (max > 0)
            m->info.max_tokens = ENSO_MIN(m->info.max_tokens, (uint32_t)max);
    }
    return ENSO_OK;
}

static int check_vocabulary(struct text_folder *f)
{
    struct enso_model *m = f->model;

    m->info.vocabulary_size = enso_tokenizer_size(m->tokenizer);
    if (m->info.vocabulary_size > f->encoder.vocabulary_size)
        return enso_error_set(f->err, ENSO_CORRUPT,
                              "the tokenizer has %u tokens, but the word table only %lld rows; do "
                              "tokenizer and weights belong together?",
                              m->info.vocabulary_size, (long long)f->encoder.vocabulary_size);
    if (m->info.max_tokens < 3)
        return enso_error_set(f->err, ENSO_CORRUPT, "the model takes fewer than 3 tokens");
    return ENSO_OK;
}

/* A pair of texts uses all segments that the tokenizer gives. */
static int check_segments(struct text_folder *f)
{
    const struct enso_sample_options how = {.truncate = true};
    struct enso_error err = {0};
    struct enso_sample *s = NULL;
    int st = enso_model_encode_text(f->model, "a", 1, "a", 1, &how, &s, &err);

    enso_sample_destroy(s);
    if (st != ENSO_CORRUPT && st != ENSO_NO_MEMORY)
        return ENSO_OK; /* a tokenizer that takes no pairs, say, is fine */
    return enso_error_set(f->err, (enum enso_status)st, "%s", err.message);
}

static int build_graph(struct text_folder *f, const json_t *modules)
{
    const char *type = json_text(f->config, "model_type");
    const char *name =
        json_string_value(json_array_get(json_object_get(f->config, "architectures"), 0));
    const struct enso_architecture *architecture;
    struct enso_builder *b = &f->builder;
    bool classifier;
    int st;

    if (type == NULL)
        return enso_error_set(f->err, ENSO_CORRUPT, "config.json: 'model_type' is missing");
    architecture = enso_architecture_find(type);
    if (architecture == NULL)
        return enso_error_set(f->err, ENSO_UNSUPPORTED,
                              "config.json: model_type '%s' is not supported; ensod serves: %s",
                              type, enso_architecture_list());
    st = wants_classifier(f, name, &classifier);
    if (st != ENSO_OK)
        return st;
    classifier = classifier && modules == NULL;
    *b = (struct enso_builder){
        .graph = f->graph, .weights = f->weights, .config = f->config, .err = f->err};
    (void)snprintf(b->prefix, sizeof b->prefix, "%s", architecture->prefix);
    if (!enso_builder_has(b, "embeddings.word_embeddings.weight"))
        b->prefix[0] = '\0';
    f->in.tokens = enso_builder_ragged_input(b, "tokens", ENSO_EXTENT_TOKENS, 1);
    f->in.positions = enso_builder_ragged_input(b, "positions", ENSO_EXTENT_TOKENS, 1);
    f->in.segments = enso_builder_ragged_input(b, "segments", ENSO_EXTENT_TOKENS, 1);
    f->in.starts = enso_builder_ragged_input(b, "starts", ENSO_EXTENT_STARTS, 1);
    f->in.work = enso_builder_ragged_input(b, "attention_work", ENSO_EXTENT_WORK, 2);
    architecture->encoder(b, &f->in, &f->encoder);
    if (b->status != ENSO_OK)
        return b->status;
    f->model->n_segments = f->encoder.n_segments;
    f->model->info.architecture = enso__model_keep(f->model, name != NULL ? name : type);
    return classifier ? build_classifier(f, architecture) : build_embedding(f, modules);
}

/* modules.json, and with it where the Transformer's files are. */
static int read_modules(struct text_folder *f, json_t **ret_modules)
{
    const json_t *first;
    const char *type;
    int st = enso__model_read_json(f->top, "modules.json", ret_modules, f->err);

    if (st != ENSO_OK)
        return st;
    first = json_array_get(*ret_modules, 0);
    type = json_text(first, "type");
    if (type == NULL || strstr(type, "Transformer") == NULL || json_array_size(*ret_modules) > 16)
        return enso_error_set(f->err, ENSO_CORRUPT,
                              "%s/modules.json must be a list of at most 16 modules that begins "
                              "with a Transformer",
                              f->top);
    return module_dir(f, first, f->base);
}

int enso__model_load_text(struct enso_model *m, const char *path, struct enso_graph **ret_graph,
                          struct enso_error *err)
{
    struct text_folder f = {.model = m, .top = path, .err = err};
    json_t *modules = NULL;
    int st = ENSO_OK;

    (void)snprintf(f.base, sizeof f.base, "%s", path);
    if (enso__model_has_file(path, "modules.json"))
        st = read_modules(&f, &modules);
    if (st == ENSO_OK)
        st = enso__model_read_json(f.base, "config.json", &f.config, err);
    if (st == ENSO_OK)
        st = enso_safetensors_open(f.base, &f.weights, err);
    if (st == ENSO_OK)
        st = enso_tokenizer_load(f.base, &m->tokenizer, err);
    if (st == ENSO_OK) {
        f.graph = enso_graph_create(m->info.id);
        st = f.graph != NULL ? build_graph(&f, modules) : enso_error_no_memory(err, "the graph");
    }
    if (st == ENSO_OK)
        st = read_limits(&f, modules != NULL);
    if (st == ENSO_OK && modules != NULL)
        st = read_prompt(&f);
    if (st == ENSO_OK)
        st = check_vocabulary(&f);
    if (st == ENSO_OK) {
        m->info.format = "safetensors";
        m->info.takes_text = true;
        m->info.batched = true;
        st = check_segments(&f);
    }
    if (st == ENSO_OK) {
        *ret_graph = f.graph;
        f.graph = NULL;
    }
    enso_graph_destroy(f.graph);
    enso_safetensors_close(f.weights);
    json_decref(f.config);
    json_decref(modules);
    return st;
}
