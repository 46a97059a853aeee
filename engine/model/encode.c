/* SPDX-License-Identifier: Apache-2.0
 *
 * From inputs to samples: text through the tokenizer, pictures through decode and prepare, tensors
 * as they are. Any thread; the model is only read.
 */
#include <string.h>

#include "engine/image/image.h"
#include "engine/model/model_internal.h"
#include "engine/text/lower.h"

static int new_sample(const struct enso_sample_options *options, struct enso_sample **ret_sample,
                      struct enso_error *err)
{
    struct enso_sample *s = enso_sample_create();

    if (s == NULL)
        return enso_error_no_memory(err, "a sample");
    if (options != NULL) {
        s->want_raw = options->want_raw;
        s->want_tokens = options->want_tokens;
    }
    *ret_sample = s;
    return ENSO_OK;
}

static int not_taken(const struct enso_model *m, const char *kind, struct enso_error *err)
{
    return enso_error_set(err, ENSO_UNSUPPORTED, "model '%s' (%s) does not take %s; it takes %s",
                          m->info.id, enso_task_name(m->info.task), kind,
                          m->info.takes_text     ? "text"
                          : m->info.takes_images ? "images"
                                                 : "tensors (POST /v2/models/.../infer)");
}

/* A tokenizer.json may number segments as it likes; the model has rows for so many. */
static int check_segments(const struct enso_model *m, const int32_t *segments, uint32_t n,
                          struct enso_error *err)
{
    for (uint32_t i = 0; i < n; i++)
        if (segments[i] < 0 || segments[i] >= m->n_segments)
            return enso_error_set(err, ENSO_CORRUPT,
                                  "the tokenizer of model '%s' gives segment %d, but the model "
                                  "knows %lld; do tokenizer and weights belong together?",
                                  m->info.id, segments[i], (long long)m->n_segments);
    return ENSO_OK;
}

/* A sequence of n tokens; segments (or NULL) only when the model has them. */
static int text_sample(const struct enso_model *m, const int32_t *tokens, const int32_t *segments,
                       uint32_t n, const struct enso_sample_options *options,
                       struct enso_sample **ret_sample, struct enso_error *err)
{
    struct enso_sample *s = NULL;
    int st = ENSO_OK;

    if (m->n_segments < 2)
        segments = NULL;
    if (segments != NULL)
        st = check_segments(m, segments, n, err);
    if (st == ENSO_OK)
        st = new_sample(options, &s, err);
    if (st != ENSO_OK)
        return st;
    s->n_tokens = n;
    s->tokens = enso_arena_alloc_zero(&s->arena, n, sizeof *s->tokens);
    s->segments =
        segments != NULL ? enso_arena_alloc_zero(&s->arena, n, sizeof *s->segments) : NULL;
    if (s->tokens == NULL || (segments != NULL && s->segments == NULL)) {
        enso_sample_destroy(s);
        return enso_error_no_memory(err, "a sample");
    }
    memcpy(s->tokens, tokens, n * sizeof *tokens);
    if (s->segments != NULL)
        memcpy(s->segments, segments, n * sizeof *segments);
    *ret_sample = s;
    return ENSO_OK;
}

/* The text as the tokenizer shall see it: the model's prompt in front (of the first of a pair), and
 * in lower case where sentence_bert_config.json says so. *ret_owned is the caller's (enso_free), or
 * NULL when the text stays as it is. */
static int dress_text(const struct enso_model *m, bool first, const char **text, size_t *size,
                      char **ret_owned, struct enso_error *err)
{
    char *joined = NULL;
    size_t total;
    int st = ENSO_OK;

    *ret_owned = NULL;
    if (first && m->prompt != NULL) {
        if (!enso_size_add(*size, m->prompt_size, &total) || (joined = enso_alloc(total)) == NULL)
            return enso_error_no_memory(err, "the text with its prompt");
        memcpy(joined, m->prompt, m->prompt_size);
        if (*size != 0)
            memcpy(joined + m->prompt_size, *text, *size);
        *ret_owned = joined;
        *text = joined;
        *size = total;
    }
    if (m->lower_case) {
        st = enso_text_lower(*text, *size, ret_owned, size, err);
        enso_free(joined);
        if (st != ENSO_OK)
            *ret_owned = NULL;
        *text = *ret_owned;
    }
    return st;
}

int enso_model_encode_text(const struct enso_model *m, const char *text, size_t size,
                           const char *pair, size_t pair_size,
                           const struct enso_sample_options *options,
                           struct enso_sample **ret_sample, struct enso_error *err)
{
    struct enso_encode_options how = {
        .add_special_tokens = true,
        .max_length = m->info.max_tokens,
        .truncate = !options->truncate       ? ENSO_TRUNCATE_NONE
                    : options->truncate_left ? ENSO_TRUNCATE_LEFT
                                             : ENSO_TRUNCATE_RIGHT,
    };
    struct enso_encoding *encoding = NULL;
    char *own_text = NULL, *own_pair = NULL;
    int st;

    if (!m->info.takes_text)
        return not_taken(m, "text", err);
    st = dress_text(m, true, &text, &size, &own_text, err);
    if (st == ENSO_OK && pair != NULL)
        st = dress_text(m, false, &pair, &pair_size, &own_pair, err);
    if (st == ENSO_OK)
        st = enso_tokenizer_encode(m->tokenizer, text, size, pair, pair_size, &how, &encoding, err);
    if (st == ENSO_TOO_LARGE) { /* too many tokens: the input is wrong, not the request's size */
        st = ENSO_INVALID;
        if (err != NULL)
            err->status = ENSO_INVALID;
    }
    if (st == ENSO_OK && encoding->n == 0) {
        st = enso_error_set(err, ENSO_INVALID,
                            "the text gives no tokens and the tokenizer adds none; send a text "
                            "that is not empty");
        enso_error_code(err, "empty");
    }
    if (st == ENSO_OK)
        st = text_sample(m, encoding->ids, encoding->segments, encoding->n, options, ret_sample,
                         err);
    if (st == ENSO_OK)
        (*ret_sample)->truncated = encoding->truncated;
    enso_encoding_destroy(encoding);
    enso_free(own_text);
    enso_free(own_pair);
    return st;
}

int enso_model_encode_tokens(const struct enso_model *m, const int64_t *ids, size_t n,
                             const struct enso_sample_options *options,
                             struct enso_sample **ret_sample, struct enso_error *err)
{
    size_t kept = n, first = 0;
    int32_t *tokens;
    int st;

    if (!m->info.takes_text)
        return not_taken(m, "token ids", err);
    if (n == 0)
        return enso_error_set(err, ENSO_INVALID, "a list of token ids must not be empty");
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= m->info.vocabulary_size)
            return enso_error_set(err, ENSO_INVALID,
                                  "token id %lld is not in the vocabulary of model '%s' (0 to %u)",
                                  (long long)ids[i], m->info.id, m->info.vocabulary_size - 1);
    if (n > m->info.max_tokens) {
        if (!options->truncate) {
            enso_error_code(err, "too_long");
            return enso_error_set(err, ENSO_INVALID,
                                  "the input has %zu tokens, but model '%s' takes at most %u; "
                                  "shorten it or let it be truncated",
                                  n, m->info.id, m->info.max_tokens);
        }
        kept = m->info.max_tokens;
        first = options->truncate_left ? n - kept : 0;
    }
    tokens = enso_alloc_array(kept, sizeof *tokens);
    if (tokens == NULL)
        return enso_error_no_memory(err, "token ids");
    for (size_t i = 0; i < kept; i++)
        tokens[i] = (int32_t)ids[first + i];
    st = text_sample(m, tokens, NULL, (uint32_t)kept, options, ret_sample, err);
    if (st == ENSO_OK)
        (*ret_sample)->truncated = kept < n;
    enso_free(tokens);
    return st;
}

/* One input of pixels. */
static int image_input(const struct enso_model *m, struct enso_sample *s, struct enso_error *err)
{
    struct enso_tensor *t = enso_arena_alloc_zero(&s->arena, 1, sizeof *t);

    if (t == NULL)
        return enso_error_no_memory(err, "a picture");
    *t = enso__model_pixels(m, 1, NULL);
    t->data = enso_arena_alloc(&s->arena, enso_tensor_bytes(t));
    if (t->data == NULL)
        return enso_error_no_memory(err, "a picture");
    s->inputs = t;
    s->n_inputs = 1;
    return ENSO_OK;
}

struct enso_tensor enso__model_pixels(const struct enso_model *m, int64_t n, void *data)
{
    return (struct enso_tensor){
        .dtype = ENSO_DTYPE_U8,
        .rank = 4,
        .dims = {n, m->info.image_height, m->info.image_width, m->info.image_channels},
        .data = data};
}

int enso_model_encode_image(const struct enso_model *m, const void *bytes, size_t size,
                            const struct enso_sample_options *options,
                            struct enso_sample **ret_sample, struct enso_error *err)
{
    struct enso_image_limits limits = {.max_pixels = m->max_pixels,
                                       .channels = (uint8_t)m->info.image_channels};
    struct enso_image image = {0};
    struct enso_sample *s = NULL;
    int st;

    if (!m->info.takes_images)
        return not_taken(m, "images", err);
    st = enso_image_decode(bytes, size, &limits, &image, err);
    if (st == ENSO_OK)
        st = new_sample(options, &s, err);
    if (st == ENSO_OK)
        st = image_input(m, s, err);
    if (st == ENSO_OK)
        st = enso_image_prepare(&m->image, &image, s->inputs[0].data, err);
    enso_image_done(&image);
    if (st != ENSO_OK) {
        enso_sample_destroy(s);
        return st;
    }
    *ret_sample = s;
    return ENSO_OK;
}

/* Does a tensor fit an input? Dimension 0 of a batched model's input is free (and agrees in all).
 */
static int check_tensor(const struct enso_model *m, size_t i, const struct enso_tensor *t,
                        int64_t *n_items, struct enso_error *err)
{
    const struct enso_tensor_info *info = &m->info.inputs[i];
    bool fits = t->dtype == info->dtype && t->rank == info->rank;

    if (t->dtype != info->dtype)
        return enso_error_set(err, ENSO_INVALID,
                              "input '%s' has datatype %s, but model '%s' takes %s", info->name,
                              enso_dtype_name(t->dtype), m->info.id, enso_dtype_name(info->dtype));
    for (uint8_t d = 0; fits && d < t->rank; d++) {
        if (info->dims[d] >= 0) {
            fits = t->dims[d] == info->dims[d];
        } else {
            fits = t->dims[d] >= 1 && (*n_items == 0 || *n_items == t->dims[d]);
            *n_items = t->dims[d];
        }
    }
    if (fits)
        return ENSO_OK;
    return enso_error_set(
        err, ENSO_INVALID,
        "the shape of input '%s' does not fit model '%s'; GET /v2/models/%s tells "
        "the shapes (-1 is the batch, at least 1 and the same for every input)",
        info->name, m->info.id, m->info.id);
}

int enso_model_encode_tensors(const struct enso_model *m, const struct enso_tensor *inputs,
                              size_t n, struct enso_sample **ret_sample, struct enso_error *err)
{
    struct enso_sample *s = NULL;
    int64_t n_items = 0;
    int st = ENSO_OK;

    if (m->info.takes_text)
        return not_taken(m, "tensors", err);
    if (n != m->info.n_inputs)
        return enso_error_set(err, ENSO_INVALID, "model '%s' has %zu inputs, but %zu were sent",
                              m->info.id, m->info.n_inputs, n);
    for (size_t i = 0; st == ENSO_OK && i < n; i++)
        st = check_tensor(m, i, &inputs[i], &n_items, err);
    if (st == ENSO_OK)
        st = new_sample(NULL, &s, err);
    if (st != ENSO_OK)
        return st;
    s->n_items = n_items != 0 ? (uint32_t)ENSO_MIN(n_items, (int64_t)UINT32_MAX) : 1;
    s->want_own = true;
    s->n_inputs = (uint32_t)n;
    s->inputs = enso_arena_alloc_zero(&s->arena, n, sizeof *s->inputs);
    for (size_t i = 0; s->inputs != NULL && i < n; i++) {
        size_t bytes = enso_tensor_bytes(&inputs[i]);

        s->inputs[i] = inputs[i];
        s->inputs[i].data = enso_arena_alloc(&s->arena, bytes);
        if (s->inputs[i].data == NULL) {
            s->inputs = NULL;
            break;
        }
        if (bytes != 0)
            memcpy(s->inputs[i].data, inputs[i].data, bytes);
    }
    if (s->inputs == NULL) {
        enso_sample_destroy(s);
        return enso_error_no_memory(err, "the input tensors");
    }
    *ret_sample = s;
    return ENSO_OK;
}

/* One item of each of the graph's own inputs. */
static int zero_inputs(const struct enso_model *m, struct enso_sample *s, struct enso_error *err)
{
    s->n_inputs = (uint32_t)m->info.n_inputs;
    s->inputs = enso_arena_alloc_zero(&s->arena, m->info.n_inputs + 1, sizeof *s->inputs);
    for (size_t i = 0; s->inputs != NULL && i < m->info.n_inputs; i++) {
        struct enso_tensor *t = &s->inputs[i];

        t->dtype = m->info.inputs[i].dtype;
        t->rank = m->info.inputs[i].rank;
        for (uint8_t d = 0; d < t->rank; d++)
            t->dims[d] = m->info.inputs[i].dims[d] < 0 ? 1 : m->info.inputs[i].dims[d];
        t->data = enso_arena_alloc_zero(&s->arena, enso_tensor_bytes(t), 1);
        if (t->data == NULL)
            s->inputs = NULL;
    }
    return s->inputs != NULL ? ENSO_OK : enso_error_no_memory(err, "a warm-up sample");
}

int enso_model_warmup_sample(const struct enso_model *m, double scale,
                             struct enso_sample **ret_sample, struct enso_error *err)
{
    struct enso_sample_options options = {.truncate = true};
    struct enso_sample *s = NULL;
    int st;

    if (m->info.takes_text) {
        uint32_t n = ENSO_MAX((uint32_t)(scale * m->info.max_tokens), 1u);
        int32_t *tokens = enso_alloc_zero(n, sizeof *tokens);

        if (tokens == NULL)
            return enso_error_no_memory(err, "a warm-up sample");
        st = text_sample(m, tokens, NULL, n, &options, ret_sample, err);
        enso_free(tokens);
        return st;
    }
    st = new_sample(&options, &s, err);
    if (st == ENSO_OK)
        st = m->info.takes_images ? image_input(m, s, err) : zero_inputs(m, s, err);
    if (st == ENSO_OK && m->info.takes_images)
        memset(s->inputs[0].data, 0, enso_tensor_bytes(&s->inputs[0]));
    if (st != ENSO_OK) {
        enso_sample_destroy(s);
        return st;
    }
    *ret_sample = s;
    return ENSO_OK;
}
