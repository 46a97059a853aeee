/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading inputs, shared by the dialects: JSON values, pictures bare, in forms and as data URLs.
 */
#ifndef ENSO_SERVER_INPUTS_H
#define ENSO_SERVER_INPUTS_H

#include "server/request.h"

enum enso_body_kind { ENSO_BODY_JSON, ENSO_BODY_IMAGE, ENSO_BODY_FORM };

/* By Content-Type: application/json and ...+json are JSON; image/... and application/octet-stream a
 * picture; multipart/form-data a form. With none, or curl's application/x-www-form-urlencoded, it
 * is JSON unless the first bytes are a picture's (huggingface_hub sends those without a type).
 * Others are ENSO_UNSUPPORTED with code "unsupported_media_type" (415). */
int enso_body_kind(const struct enso_request *req, enum enso_body_kind *ret_kind,
                   struct enso_error *err);

/* The same for routes that take JSON only: anything else is unsupported_media_type. */
int enso_body_is_json(const struct enso_request *req, struct enso_error *err);

/* Parameters of the query: model, top_k, probs, raw_scores, timeout_ms, priority. Any other is
 * ENSO_INVALID. Read them before those of a JSON body, which win. */
int enso_inputs_read_query(struct enso_request *req, struct enso_error *err);

/* The body is one picture, or a form with pictures in fields "image", "file" or "data"; parameters
 * come from the query and the form's other fields. */
int enso_inputs_from_picture_body(struct enso_request *req, enum enso_body_kind kind,
                                  struct enso_error *err);

/* "data:image/png;base64,..." (or, with bare allowed, base64 alone) into in->image. */
int enso_input_from_data_url(struct enso_request *req, const char *text, size_t size, bool bare,
                             struct enso_input *in, struct enso_error *err);

/* A string, {"text", "text_pair"} or {"image"}: one input of native and Hugging Face dialects. */
int enso_input_from_json(struct enso_request *req, const json_t *value, const char *path,
                         struct enso_input *in, struct enso_error *err);

/* json[key]: one such input or a list of them. Sets req->single and req->input_key = key. */
int enso_inputs_from_json(struct enso_request *req, const char *key, struct enso_error *err);

#endif
