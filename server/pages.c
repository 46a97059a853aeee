/* SPDX-License-Identifier: Apache-2.0
 *
 * The daemon about itself: GET /, /health, /ready, /metrics.
 */
#include <string.h>

#include "base/metrics.h"
#include "ensod_build.h"
#include "server/app.h"
#include "server/handlers.h"
#include "server/lost.h"
#include "server/registry.h"
#include "server/routes.h"

/* Text between tags or in quotes. */
static void put_html(struct enso_buffer *b, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            enso_buffer_puts(b, "&amp;");
            break;
        case '<':
            enso_buffer_puts(b, "&lt;");
            break;
        case '>':
            enso_buffer_puts(b, "&gt;");
            break;
        case '"':
            enso_buffer_puts(b, "&quot;");
            break;
        case '\'':
            enso_buffer_puts(b, "&#39;");
            break;
        default:
            enso_buffer_putc(b, *text);
        }
    }
}

/* Links are relative: behind a proxy the page may stand under a path of its own. */
static void put_model(struct enso_buffer *b, const char *id, const char *what, bool as_html)
{
    if (!as_html) {
        enso_buffer_printf(b, "  %s (%s)\n", id, what);
        return;
    }
    enso_buffer_puts(b, "<tr><td><a href=\"v1/models/");
    put_html(b, id);
    enso_buffer_puts(b, "\">");
    put_html(b, id);
    enso_buffer_printf(b, "</a></td><td>%s</td></tr>\n", what);
}

static void put_models(struct enso_buffer *b, struct enso_request *req, bool as_html)
{
    for (size_t i = 0; i < enso_registry_n_entries(req->app->registry); i++) {
        const struct enso_entry *e = enso_registry_entry(req->app->registry, i);
        struct enso_served *s;

        (void)enso_registry_state(req->app->registry, e, &s, NULL);
        put_model(b, e->id,
                  s != NULL ? enso_task_name(enso_model_info(s->model)->task) : "not ready",
                  as_html);
        enso_served_unref(s);
    }
}

static void put_paths(struct enso_buffer *b, bool as_html)
{
    for (size_t i = 0; i < enso_n_routes; i++) {
        const struct enso_route *r = &enso_routes[i];
        const char *method = r->method == ENSO_POST ? "POST" : "GET";
        bool is_link = r->method == ENSO_GET && strchr(r->pattern, '{') == NULL;

        if (!as_html) {
            enso_buffer_printf(b, "  %-4s %-42s %s\n", method, r->pattern, r->summary);
            continue;
        }
        enso_buffer_printf(b, "<tr><td><code>%s ", method);
        if (is_link) /* all patterns begin with a slash */
            enso_buffer_printf(b, "<a href=\"./%s\">%s</a>", r->pattern + 1, r->pattern);
        else
            enso_buffer_puts(b, r->pattern);
        enso_buffer_puts(b, "</code></td><td>");
        put_html(b, r->summary);
        enso_buffer_puts(b, "</td></tr>\n");
    }
}

/* web/index.html with its @names@ filled in. */
static void put_page(struct enso_buffer *b, struct enso_request *req)
{
    const char *host = enso_http_call_header(req->call, "Host");
    const char *rest = enso_index_html, *at;

    while ((at = strchr(rest, '@')) != NULL) {
        size_t n = strcspn(at + 1, "@\n");

        enso_buffer_append(b, rest, (size_t)(at - rest));
        if (strncmp(at, "@version@", n + 2) == 0) {
            enso_buffer_puts(b, PACKAGE_VERSION);
        } else if (strncmp(at, "@address@", n + 2) == 0) {
            put_html(b, host != NULL && *host != '\0' ? host : "127.0.0.1:8080");
        } else if (strncmp(at, "@models@", n + 2) == 0) {
            put_models(b, req, true);
        } else if (strncmp(at, "@paths@", n + 2) == 0) {
            put_paths(b, true);
        } else { /* an @ that names nothing */
            enso_buffer_putc(b, *at);
            rest = at + 1;
            continue;
        }
        rest = at + n + 2;
    }
    enso_buffer_puts(b, rest);
}

int enso_answer_index(struct enso_request *req, struct enso_error *err)
{
    struct enso_buffer *b = &req->answer;
    const char *accept = enso_http_call_header(req->call, "Accept");

    (void)err;
    if (accept != NULL && strstr(accept, "text/html") != NULL) {
        req->answer_type = "text/html; charset=utf-8";
        put_page(b, req);
        return 200;
    }
    req->answer_type = "text/plain; charset=utf-8";
    enso_buffer_puts(b, "ensod " PACKAGE_VERSION ": a server for neural networks.\n\nModels:\n");
    put_models(b, req, false);
    enso_buffer_puts(b, "\nPaths:\n");
    put_paths(b, false);
    return 200;
}

int enso_answer_health(struct enso_request *req, struct enso_error *err)
{
    (void)err;
    enso_buffer_puts(&req->answer, "{\"status\":\"ok\"}\n");
    return 200;
}

/* Every model is loaded or failed, one serves, none that is required failed or was lost with its
 * device, and not draining. */
static bool is_ready(struct enso_app *app, struct enso_readiness *r)
{
    enso_lost_check(app);
    enso_registry_readiness(app->registry, r);
    return r->n_loading == 0 && r->n_ready > 0 && !r->required_failed && r->n_lost == 0 &&
           !app->draining;
}

int enso_answer_ready(struct enso_request *req, struct enso_error *err)
{
    struct enso_readiness r;
    bool ready = is_ready(req->app, &r);

    (void)err;
    enso_buffer_printf(&req->answer,
                       "{\"ready\":%s,\"draining\":%s,\"models\":{\"ready\":%zu,\"loading\":%zu,"
                       "\"failed\":%zu}",
                       ready ? "true" : "false", req->app->draining ? "true" : "false", r.n_ready,
                       r.n_loading, r.n_failed);
    if (r.n_lost != 0) {
        enso_buffer_puts(&req->answer, ",\"reason\":");
        enso_buffer_put_json_string(&req->answer, r.lost.message, strlen(r.lost.message));
    }
    enso_buffer_puts(&req->answer, "}\n");
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
    enso_lost_check(req->app);
    enso_metrics_write(req->app->metrics, format, &req->answer);
    req->answer_type = enso_metrics_content_type(format);
    return 200;
}
