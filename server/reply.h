/* SPDX-License-Identifier: Apache-2.0
 *
 * The answer to a request: the headers that every answer carries (Server-Timing, X-Request-Id, and
 * Retry-After where a client should come again), and errors in the shape of the route's dialect.
 * Loop thread.
 */
#ifndef ENSO_SERVER_REPLY_H
#define ENSO_SERVER_REPLY_H

#include "server/request.h"

/* req->answer as it is, with the type req->answer_type; `allow` (may be NULL) is a header of 405
 * and of answers to OPTIONS. */
void enso_reply(struct enso_request *req, int code, const char *allow);

/* req->error, which must be set; code 0: the status its dialect gives it. */
void enso_reply_error(struct enso_request *req, int code);

/* What the transport answers by itself, in the same form. Only reads req. */
void enso_reply_format(const struct enso_request *req, struct enso_http_error *error);

/* Our own id of the request, and the one it is known by: the client's X-Request-Id if that is 1 to
 * 128 visible ASCII characters, else ours. And the trace it is part of: W3C Trace Context, level 1,
 * section 3.2. */
void enso_reply_choose_id(struct enso_request *req);

#endif
