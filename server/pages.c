/* SPDX-License-Identifier: Apache-2.0
 *
 * The daemon about itself: GET /, /health, /ready, /metrics.
 */
#include <string.h>

#include "base/metrics.h"
#include "ensod_build.h"
#include "server/app.h"
#include "server/handlers.h"
#include "server/registry.h"
#include "server/routes.h"

int enso_answer_index(struct enso_request *req, struct enso_error *err)
{
    struct enso_buffer *b = &req->answer;

    (void)err;
    req->answer_type = "text/plain; charset=utf-8";
    enso_buffer_puts(b, "ensod " PACKAGE_VERSION ": a server for neural networks.\n\nModels:\n");
    for (size_t i = 0; i < enso_registry_n_entries(req->app->registry); i++) {
        const struct enso_entry *e = enso_registry_entry(req->app->registry, i);
        struct enso_served *s;

        (void)enso_registry_state(req->app->registry, e, &s, NULL);
        enso_buffer_printf(b, "  %s (%s)\n", e->id,
                           s != NULL ? enso_task_name(enso_model_info(s->model)->task)
                                     : "not ready");
        enso_served_unref(s);
    }
    enso_buffer_puts(b, "\nPaths:\n");
    for (size_t i = 0; i < enso_n_routes; i++)
        enso_buffer_printf(b, "  %-4s %-42s %s\n",
                           enso_routes[i].method == ENSO_POST ? "POST" : "GET",
                           enso_routes[i].pattern, enso_routes[i].summary);
    return 200;
}

int enso_answer_health(struct enso_request *req, struct enso_error *err)
{
    (void)err;
    enso_buffer_puts(&req->answer, "{\"status\":\"ok\"}\n");
    return 200;
}

/* Every model is loaded or failed, one serves, none that is required failed, and not draining. */
static bool is_ready(struct enso_app *app, struct enso_readiness *r)
{
    enso_registry_readiness(app->registry, r);
    return r->n_loading == 0 && r->n_ready > 0 && !r->required_failed && !app->draining;
}

int enso_answer_ready(struct enso_request *req, struct enso_error *err)
{
    struct enso_readiness r;
    bool ready = is_ready(req->app, &r);

    (void)err;
    enso_buffer_printf(&req->answer,
                       "{\"ready\":%s,\"draining\":%s,\"models\":{\"ready\":%zu,\"loading\":%zu,"
                       "\"failed\":%zu}}\n",
                       ready ? "true" : "false", req->app->draining ? "true" : "false", r.n_ready,
                       r.n_loading, r.n_failed);
    return ready ? 200 : 503;
}

int enso_answer_v2_live(struct enso_request *req, struct enso_error *err)
{
    (void)err;
    enso_buffer_puts(&req->answer, "{\"live\":true}\n");
    return 200;
}

int enso_answer_v2_ready(struct enso_request *req, struct enso_error *err)
{
    struct enso_readiness r;
    bool ready = is_ready(req->app, &r);

    (void)err;
    enso_buffer_printf(&req->answer, "{\"ready\":%s}\n", ready ? "true" : "false");
    return ready ? 200 : 503;
}

int enso_answer_metrics(struct enso_request *req, struct enso_error *err)
{
    const char *accept = enso_http_call_header(req->call, "Accept");
    enum enso_metrics_format format =
        accept != NULL && strstr(accept, "application/openmetrics-text") != NULL
            ? ENSO_METRICS_OPENMETRICS
            : ENSO_METRICS_TEXT;

    (void)err;
    enso_metrics_write(req->app->metrics, format, &req->answer);
    req->answer_type = enso_metrics_content_type(format);
    return 200;
}
