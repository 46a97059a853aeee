/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /v1/tokenize: texts → token ids, pieces and character offsets.
 */
#include <string.h>

#include "base/json.h"
#include "base/number.h"
#include "engine/text/tokenizer.h"
#include "server/app.h"
#include "server/handlers.h"
#include "server/inputs.h"
#include "server/registry.h"

static void write_tokens(struct enso_buffer *b, const struct enso_tokenizer *tok,
                         const struct enso_encoding *e)
{
    enso_buffer_puts(b, ",\"tokens\":[");
    for (uint32_t i = 0; i < e->n; i++) {
        size_t size = 0;
        const char *piece = enso_tokenizer_piece(tok, e->ids[i], &size);

        enso_buffer_puts(b, i != 0 ? ",{\"id\":" : "{\"id\":");
        enso_buffer_put_i64(b, e->ids[i]);
        enso_buffer_puts(b, ",\"piece\":");
        enso_buffer_put_json_string(b, piece != NULL ? piece : "", size);
        if (e->special[i] != 0) {
            enso_buffer_puts(b, ",\"special\":true}");
            continue;
        }
        enso_buffer_puts(b, ",\"start\":");
        enso_buffer_put_u64(b, e->offsets[i].start);
        enso_buffer_puts(b, ",\"end\":");
        enso_buffer_put_u64(b, e->offsets[i].end);
        enso_buffer_putc(b, '}');
    }
    enso_buffer_putc(b, ']');
}

#define ANSWER_BYTES_PER_TOKEN 80

static int tokenize(struct enso_request *req, size_t i, bool add_special, struct enso_error *err)
{
    const struct enso_tokenizer *tok = enso_model_tokenizer(req->served->model);
    const struct enso_input *in = &req->inputs[i];
    struct enso_encode_options how = {.add_special_tokens = add_special, .want_offsets = true};
    struct enso_buffer *b = &req->answer;
    struct enso_encoding *e;
    int st;

    if (tok == NULL)
        return enso_error_set(err, ENSO_UNSUPPORTED, "model '%s' has no tokenizer; name another",
                              req->served->id);
    if (in->kind != ENSO_INPUT_TEXT)
        return enso_error_set(err, ENSO_INVALID, "only texts can be tokenized; send a string");
    how.max_length = UINT32_MAX; /* what the model would cut is told whole */
    st =
        enso_tokenizer_encode(tok, in->text, in->text_size, in->pair, in->pair_size, &how, &e, err);
    if (st != ENSO_OK)
        return st;
    st = enso_request_charge(req, (size_t)e->n * ANSWER_BYTES_PER_TOKEN, err);
    if (st != ENSO_OK) {
        enso_encoding_destroy(e);
        return st;
    }
    enso_encoding_to_characters(e, in->text, in->text_size, in->pair, in->pair_size);
    enso_buffer_puts(b, i != 0 ? ",{\"index\":" : "{\"index\":");
    enso_buffer_put_u64(b, i);
    enso_buffer_puts(b, ",\"count\":");
    enso_buffer_put_u64(b, e->n);
    write_tokens(b, tok, e);
    enso_buffer_putc(b, '}');
    enso_encoding_destroy(e);
    return ENSO_OK;
}

int enso_answer_tokenize(struct enso_request *req, struct enso_error *err)
{
    struct enso_buffer *b = &req->answer;
    bool add_special = true;
    int st = enso_body_is_json(req, err);

    if (st == ENSO_OK)
        st = enso_request_parse_json(req, err);
    if (st == ENSO_OK)
        st = enso_request_common_parameters(req, err);
    if (st == ENSO_OK)
        st = enso_json_get_bool(req->json, "", "add_special_tokens", ENSO_JSON_OPTIONAL,
                                &add_special, err);
    if (st == ENSO_OK)
        st = enso_inputs_from_json(req, "input", err);
    if (st == ENSO_OK)
        st = enso_registry_find(req->app->registry, req->model_name,
                                1u << ENSO_TASK_TEXT_CLASSIFICATION | 1u << ENSO_TASK_EMBEDDING,
                                &req->served, err);
    if (st != ENSO_OK)
        return st;
    enso_buffer_puts(b, "{\"object\":\"list\",\"model\":");
    enso_buffer_put_json_string(b, req->served->id, strlen(req->served->id));
    enso_buffer_puts(b, ",\"data\":[");
    for (size_t i = 0; st == ENSO_OK && i < req->n_inputs; i++) {
        st = tokenize(req, i, add_special, err);
        if (st != ENSO_OK && !req->single)
            enso_error_param(err, "input[%zu]", i);
        else if (st != ENSO_OK)
            enso_error_param(err, "input");
    }
    enso_buffer_puts(b, "]}\n");
    return st == ENSO_OK ? 200 : st;
}
