/* SPDX-License-Identifier: Apache-2.0
 *
 * The access log's line: see access_log.h.
 */
#include "server/access_log.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/registry.h"
#include "server/routes.h"

void enso_access_log(const struct enso_request *req, const struct enso_http_done *done)
{
    const struct enso_http_target *target;
    struct enso_log_line line;

    if (!enso_log_access_begin(&line))
        return;
    target = enso_http_call_target(req->call);
    enso_log_line_string(&line, "id", req->id);
    if (req->trace[0] != '\0')
        enso_log_line_string(&line, "trace", req->trace);
    enso_log_line_string(&line, "peer", enso_http_call_peer(req->call));
    enso_log_line_string(&line, "method", enso_http_call_method(req->call));
    enso_log_line_bytes(&line, "path", target->path.data, target->path.size);
    enso_log_line_int(&line, "status", done->status != 0 ? done->status : 499); /* hung up */
    enso_log_line_uint(&line, "bytes", done->body_bytes);
    enso_log_line_ms(&line, "ms", enso_clock_now_ns() - req->start_ns);
    if (req->served != NULL)
        enso_log_line_string(&line, "model", req->served->id);
    if (req->n_items != 0)
        enso_log_line_uint(&line, "items", req->n_items);
    if (req->n_tokens != 0)
        enso_log_line_uint(&line, "tokens", req->n_tokens);
    if (req->job != NULL) {
        enso_log_line_ms(&line, "queue_ms", req->job->queue_ns);
        enso_log_line_ms(&line, "compute_ms", req->job->compute_ns);
        enso_log_line_uint(&line, "batch", req->job->batch_items);
    }
    if (req->error.code[0] != '\0')
        enso_log_line_string(&line, "code", req->error.code);
    if (!done->complete)
        enso_log_line_bool(&line, "complete", false);
    enso_log_line_end(&line);
}
