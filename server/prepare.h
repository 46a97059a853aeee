/* SPDX-License-Identifier: Apache-2.0
 *
 * What happens to a request before the queue, the same for every dialect: decode, find the model,
 * make samples of the inputs, charge what they take.
 */
#ifndef ENSO_SERVER_PREPARE_H
#define ENSO_SERVER_PREPARE_H

#include "server/request.h"

/* On the loop, or on the pool for what is big; nobody else touches the request meanwhile.
 * Plain routes: runs route->answer and gives what it gave (an HTTP status, or negative).
 * Inference: fills req->job; ENSO_OK, or negative with req->error filled. Sets req->pre_ns. */
int enso_prepare(struct enso_request *req);

#endif
