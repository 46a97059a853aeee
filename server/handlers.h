/* SPDX-License-Identifier: Apache-2.0
 *
 * What the route table points to, file by file. Contracts: struct enso_route (routes.h) and
 * enso_decode_fn, enso_encode_fn (request.h).
 */
#ifndef ENSO_SERVER_HANDLERS_H
#define ENSO_SERVER_HANDLERS_H

#include "server/request.h"

/* pages.c: the daemon about itself */
extern const char enso_index_html[]; /* made of web/index.html */
int enso_answer_index(struct enso_request *req, struct enso_error *err);
int enso_answer_health(struct enso_request *req, struct enso_error *err);
int enso_answer_ready(struct enso_request *req, struct enso_error *err);
int enso_answer_metrics(struct enso_request *req, struct enso_error *err);

/* openapi.c */
int enso_answer_openapi(struct enso_request *req, struct enso_error *err);

/* models.c: GET /v1/models */
int enso_answer_models(struct enso_request *req, struct enso_error *err);
int enso_answer_model(struct enso_request *req, struct enso_error *err);

/* classify.c, embeddings.c, tokenize.c: the native dialect */
int enso_decode_classify(struct enso_request *req, struct enso_error *err);
int enso_encode_classify(struct enso_request *req, struct enso_error *err);
int enso_decode_embeddings(struct enso_request *req, struct enso_error *err);
int enso_encode_embeddings(struct enso_request *req, struct enso_error *err);
int enso_answer_tokenize(struct enso_request *req, struct enso_error *err);

/* huggingface.c: pipelines */
int enso_decode_huggingface(struct enso_request *req, struct enso_error *err);
int enso_encode_huggingface(struct enso_request *req, struct enso_error *err);

/* kserve.c, kserve_infer.c: KServe V2 */
int enso_answer_v2_server(struct enso_request *req, struct enso_error *err);
int enso_answer_v2_live(struct enso_request *req, struct enso_error *err);
int enso_answer_v2_ready(struct enso_request *req, struct enso_error *err);
int enso_answer_v2_model(struct enso_request *req, struct enso_error *err);
int enso_answer_v2_model_ready(struct enso_request *req, struct enso_error *err);
int enso_decode_v2_infer(struct enso_request *req, struct enso_error *err);
int enso_encode_v2_infer(struct enso_request *req, struct enso_error *err);

#endif
