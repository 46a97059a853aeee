/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading inputs: see inputs.h.
 */
#include "server/inputs.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/base64.h"
#include "base/json.h"
#include "base/number.h"
#include "base/utf8.h"
#include "server/multipart.h"

/* JPEG, PNG or RIFF (WebP): no JSON begins so. */
static bool looks_like_picture(const struct enso_request *req)
{
    static const char *const marks[] = {"\xff\xd8\xff", "\x89PNG", "RIFF"};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(marks); i++)
        if (req->body_size >= strlen(marks[i]) &&
            memcmp(req->body, marks[i], strlen(marks[i])) == 0)
            return true;
    return false;
}

int enso_body_kind(const struct enso_request *req, enum enso_body_kind *ret_kind,
                   struct enso_error *err)
{
    const char *type = req->content_type;
    size_t n = type != NULL ? strcspn(type, "; \t") : 0;

    *ret_kind = ENSO_BODY_JSON;
    if ((n == 16 && strncasecmp(type, "application/json", n) == 0) ||
        (n > 5 && strncasecmp(type + n - 5, "+json", 5) == 0))
        return ENSO_OK;
    if (n == 0 || (n == 33 && strncasecmp(type, "application/x-www-form-urlencoded", n) == 0)) {
        if (looks_like_picture(req))
            *ret_kind = ENSO_BODY_IMAGE;
        return ENSO_OK;
    }
    if (strncasecmp(type, "image/", 6) == 0 ||
        (n == 24 && strncasecmp(type, "application/octet-stream", n) == 0)) {
        *ret_kind = ENSO_BODY_IMAGE;
        return ENSO_OK;
    }
    if (n == 19 && strncasecmp(type, "multipart/form-data", n) == 0) {
        *ret_kind = ENSO_BODY_FORM;
        return ENSO_OK;
    }
    enso_error_code(err, "unsupported_media_type");
    return enso_error_set(err, ENSO_UNSUPPORTED,
                          "Content-Type '%.60s' is not taken here; send application/json, or a "
                          "picture as image/... or multipart/form-data",
                          type);
}

int enso_body_is_json(const struct enso_request *req, struct enso_error *err)
{
    enum enso_body_kind kind;

    if (enso_body_kind(req, &kind, NULL) == ENSO_OK && kind == ENSO_BODY_JSON)
        return ENSO_OK;
    enso_error_code(err, "unsupported_media_type");
    return enso_error_set(err, ENSO_UNSUPPORTED,
                          "Content-Type '%.60s' is not taken here; send application/json",
                          req->content_type != NULL ? req->content_type : "of a picture");
}

/* --- parameters out of a query or a form -------------------------------------------------------
 */

static int parse_flag(const char *name, const char *value, bool *ret, struct enso_error *err)
{
    *ret = strcmp(value, "true") == 0 || strcmp(value, "1") == 0 || value[0] == '\0';
    if (*ret || strcmp(value, "false") == 0 || strcmp(value, "0") == 0)
        return ENSO_OK;
    enso_error_param(err, "%s", name);
    return enso_error_set(err, ENSO_INVALID, "%s must be true or false", name);
}

static int set_parameter(struct enso_request *req, const char *name, const char *value,
                         struct enso_error *err)
{
    struct enso_parameters *p = &req->parameters;
    int64_t i = 0;
    bool flag = false;
    int st = ENSO_OK;

    if (strcmp(name, "model") == 0) {
        req->model_name = value;
    } else if (strcmp(name, "top_k") == 0) {
        st = enso_number_parse_i64(value, 0, 1000000, &i, err);
        p->top_k = (uint32_t)i;
    } else if (strcmp(name, "timeout_ms") == 0) {
        st = enso_number_parse_i64(value, 1, 86400000, &i, err);
        p->timeout_ns = (uint64_t)i * 1000000;
    } else if (strcmp(name, "priority") == 0) {
        st = enso_number_parse_i64(value, 0, 9, &i, err);
        p->priority = (unsigned)i;
    } else if (strcmp(name, "raw_scores") == 0) {
        st = parse_flag(name, value, &p->raw_scores, err);
    } else if (strcmp(name, "probs") == 0) {
        st = parse_flag(name, value, &flag, err);
        p->probs = flag ? ENSO_YES : ENSO_NO;
    } else {
        enso_error_param(err, "%.60s", name);
        st = enso_error_set(err, ENSO_INVALID,
                            "parameter '%.60s' is not known; in the query or a form there are "
                            "model, top_k, probs, raw_scores, timeout_ms and priority",
                            name);
    }
    if (st != ENSO_OK)
        enso_error_param(err, "%s", name);
    return st;
}

int enso_inputs_read_query(struct enso_request *req, struct enso_error *err)
{
    const struct enso_http_target *target = enso_http_call_target(req->call);

    for (size_t i = 0; i < target->n_params; i++) {
        int st = set_parameter(req, target->params[i].name.data, target->params[i].value.data, err);

        if (st != ENSO_OK)
            return st;
    }
    return ENSO_OK;
}

/* --- pictures --------------------------------------------------------------------------------- */

static void set_picture(struct enso_input *in, const uint8_t *bytes, size_t size)
{
    in->kind = ENSO_INPUT_IMAGE;
    in->image = bytes;
    in->image_size = size;
}

static bool is_picture_field(const char *name)
{
    return strcmp(name, "image") == 0 || strcmp(name, "file") == 0 || strcmp(name, "data") == 0;
}

/* Two passes: count the pictures, then take them. */
static int read_form(struct enso_request *req, struct enso_error *err)
{
    size_t n = 0;

    for (int pass = 0; pass < 2; pass++) {
        struct enso_multipart form;
        struct enso_part part;
        size_t i = 0;
        int st = enso_multipart_begin(&form, req->content_type, req->body, req->body_size, err);

        while (st == ENSO_OK && (st = enso_multipart_next(&form, &part, err)) == ENSO_OK &&
               part.data != NULL) {
            if (is_picture_field(part.name)) {
                if (pass == 1)
                    set_picture(&req->inputs[i], part.data, part.size);
                i++;
            } else if (pass == 1) {
                char *name = enso_arena_strndup(&req->arena, part.name, sizeof part.name);
                char *value = enso_arena_strndup(&req->arena, (const char *)part.data, part.size);

                if (name == NULL || value == NULL)
                    return enso_error_no_memory(err, "the form's fields");
                if (!enso_utf8_valid(value, strlen(value), NULL))
                    return enso_error_set(err, ENSO_INVALID, "a field of the form is not UTF-8");
                st = set_parameter(req, name, value, err);
            }
        }
        if (st != ENSO_OK)
            return st;
        n = i;
        if (n == 0) {
            enso_error_code(err, "empty");
            return enso_error_set(err, ENSO_INVALID,
                                  "the form has no picture; send it as field 'image': curl -F "
                                  "image=@file.png");
        }
        if (pass == 0 && (st = enso_request_add_inputs(req, n, err)) != ENSO_OK)
            return st;
    }
    req->single = n == 1;
    req->input_key = "image";
    return ENSO_OK;
}

int enso_inputs_from_picture_body(struct enso_request *req, enum enso_body_kind kind,
                                  struct enso_error *err)
{
    int st = enso_inputs_read_query(req, err);

    if (st != ENSO_OK)
        return st;
    if (kind == ENSO_BODY_FORM)
        return read_form(req, err);
    st = enso_request_add_inputs(req, 1, err);
    if (st != ENSO_OK)
        return st;
    set_picture(&req->inputs[0], req->body, req->body_size);
    req->single = true;
    req->input_key = "body";
    if (req->body_size == 0) {
        enso_error_code(err, "empty_body");
        return enso_error_set(err, ENSO_INVALID,
                              "the body is empty; send a JPEG, PNG or WebP picture");
    }
    return ENSO_OK;
}

int enso_input_from_data_url(struct enso_request *req, const char *text, size_t size, bool bare,
                             struct enso_input *in, struct enso_error *err)
{
    const char *comma = size > 5 && memcmp(text, "data:", 5) == 0
                            ? memchr(text, ',', ENSO_MIN(size, (size_t)256))
                            : NULL;
    size_t head = comma != NULL ? (size_t)(comma - text) + 1 : 0, n;
    uint8_t *bytes;
    int st;

    if ((comma == NULL && !bare) ||
        (comma != NULL && (head < 8 || memcmp(comma - 7, ";base64", 7) != 0))) {
        enso_error_code(err, "bad_data_url");
        return enso_error_set(err, ENSO_INVALID,
                              "a picture in JSON is a data URL: \"data:image/png;base64,...\"");
    }
    n = ENSO_BASE64_DECODED_SIZE(size - head);
    st = enso_request_charge(req, n, err);
    if (st != ENSO_OK)
        return st;
    bytes = enso_arena_alloc(&req->arena, n);
    if (bytes == NULL)
        return enso_error_no_memory(err, "a picture");
    st = enso_base64_decode(text + head, size - head, bytes, &n, err);
    if (st == ENSO_OK)
        set_picture(in, bytes, n);
    return st;
}

/* --- JSON --------------------------------------------------------------------------------------
 */

static void set_text(struct enso_input *in, const json_t *value)
{
    in->kind = ENSO_INPUT_TEXT;
    in->text = json_string_value(value);
    in->text_size = json_string_length(value);
}

int enso_input_from_json(struct enso_request *req, const json_t *value, const char *path,
                         struct enso_input *in, struct enso_error *err)
{
    const char *text = NULL;
    size_t size;
    int st;

    if (json_is_string(value)) {
        set_text(in, value);
        return ENSO_OK;
    }
    if (!json_is_object(value))
        return enso_json_wrong_type(value, path,
                                    "a string, {\"text\": ...} or {\"image\": \"data:...\"}", err);
    st = enso_json_get_string(value, path, "image", ENSO_JSON_OPTIONAL, &text, &size, err);
    if (st != ENSO_OK)
        return st;
    if (text != NULL) {
        st = enso_input_from_data_url(req, text, size, false, in, err);
        if (st != ENSO_OK)
            enso_error_param(err, "%s.image", path);
        return st;
    }
    in->kind = ENSO_INPUT_TEXT;
    st = enso_json_get_string(value, path, "text", ENSO_JSON_REQUIRED, &in->text, &in->text_size,
                              err);
    if (st == ENSO_OK)
        st = enso_json_get_string(value, path, "text_pair", ENSO_JSON_OPTIONAL, &in->pair,
                                  &in->pair_size, err);
    return st;
}

int enso_inputs_from_json(struct enso_request *req, const char *key, struct enso_error *err)
{
    const json_t *value = json_object_get(req->json, key);
    size_t n = json_is_array(value) ? json_array_size(value) : 1;
    int st;

    req->input_key = key;
    req->single = !json_is_array(value);
    if (value == NULL) {
        enso_error_param(err, "%s", key);
        return enso_error_set(err, ENSO_INVALID, "\"%s\" is missing; it holds what to work on",
                              key);
    }
    st = enso_request_add_inputs(req, n, err);
    if (st != ENSO_OK) {
        enso_error_param(err, "%s", key);
        return st;
    }
    if (req->single)
        return enso_input_from_json(req, value, key, &req->inputs[0], err);
    for (size_t i = 0; i < n; i++) {
        char path[64];

        (void)snprintf(path, sizeof path, "%s[%zu]", key, i);
        st = enso_input_from_json(req, json_array_get(value, i), path, &req->inputs[i], err);
        if (st != ENSO_OK)
            return st;
    }
    return ENSO_OK;
}
