/* SPDX-License-Identifier: Apache-2.0
 *
 * One logfmt line per request: who, what, how long. Never inputs.
 */
#ifndef ENSO_SERVER_ACCESS_LOG_H
#define ENSO_SERVER_ACCESS_LOG_H

#include "server/request.h"

/* Loop thread, when the call is done. */
void enso_access_log(const struct enso_request *req, const struct enso_http_done *done);

#endif
