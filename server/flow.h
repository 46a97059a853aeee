/* SPDX-License-Identifier: Apache-2.0
 *
 * The way of a request through the server, the same for every dialect:
 *
 *   on_head → match route, make the request        (refuse: 404, 405, 415, 413)
 *   on_call → prepare: decode body, find model, encode inputs to samples
 *                      here, or on the pool when the body is big or holds pictures
 *           → submit to the model's queue           (refuse: 429, 503; the call waits)
 *   done    → from the lane to the loop by one bell → encode the answer (pool when big) → respond
 *   on_gone → cancel the job; what is on the pool finishes and is dropped
 *   on_done → access log, metrics, the last holder frees
 */
#ifndef ENSO_SERVER_FLOW_H
#define ENSO_SERVER_FLOW_H

#include "server/app.h"
#include "server/http.h"

/* Set up the bell and the callbacks for server/http.c; app must outlive http. */
int enso_flow_init(struct enso_app *app, struct enso_error *err);
void enso_flow_done(struct enso_app *app);
void enso_flow_callbacks(struct enso_app *app, struct enso_http_callbacks *ret);

#endif
