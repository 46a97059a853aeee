/* SPDX-License-Identifier: Apache-2.0
 *
 * One server, asked one question after the other over a kept connection; over libcurl.
 *
 *     struct enso_client *client;
 *     st = enso_client_create(server, &client, err);
 *     st = enso_client_call(client, &(struct enso_client_request){.path = "/v1/models"}, &answer,
 *                           err);
 *     ... json_decref(answer); enso_client_destroy(client);
 *
 * Proxies of the environment are not used: a daemon stands on this machine or near it.
 */
#ifndef ENSO_CLI_CLIENT_H
#define ENSO_CLI_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/macros.h"

#define ENSO_CLIENT_DEFAULT_SERVER "http://127.0.0.1:8080"

/* Where a server is. */
struct enso_server_address {
    char *url;         /* "http://127.0.0.1:8080", without a slash at the end; owned */
    char *unix_path;   /* socket's path, or NULL; owned */
    const char *given; /* as the user said it, for sentences; borrowed */
};

/* `server` is "http://...", "https://...", "HOST:PORT" or "unix:PATH"; NULL: ENSO_SERVER of the
 * environment, else the default. ENSO_INVALID with code "usage". */
enum enso_status enso_server_address_init(struct enso_server_address *address, const char *server,
                                          struct enso_error *err) ENSO_MUST_CHECK;
void enso_server_address_done(struct enso_server_address *address);

struct enso_client; /* opaque */

enum enso_status enso_client_create(const char *server, struct enso_client **ret,
                                    struct enso_error *err) ENSO_MUST_CHECK;
void enso_client_destroy(struct enso_client *client); /* NULL is fine */

struct enso_client_request {
    const char *path;         /* with its query: "/v1/models" */
    const void *body;         /* NULL: GET, else POST */
    size_t body_size;         /* bytes */
    const char *content_type; /* of the body; NULL: application/json */
    uint64_t timeout_ns;      /* for all of the answer; 0: as long as it takes */
};

/* The raw answer of any status. Errors are of the transport: ENSO_UNAVAILABLE with a sentence that
 * names the server and what to try. `answer` is cleared first; at most 1 GiB. */
enum enso_status enso_client_fetch(struct enso_client *client,
                                   const struct enso_client_request *request, long *ret_code,
                                   struct enso_buffer *answer,
                                   struct enso_error *err) ENSO_MUST_CHECK;

/* The answer as JSON (json_decref it). A status other than 2xx is an error that carries the
 * server's own sentence; so is an answer that is no JSON. */
enum enso_status enso_client_call(struct enso_client *client,
                                  const struct enso_client_request *request, json_t **ret,
                                  struct enso_error *err) ENSO_MUST_CHECK;

/* The same with a JSON body, which it takes; NULL, as Jansson gives it, is out of memory. */
enum enso_status enso_client_post(struct enso_client *client, const char *path, json_t *body,
                                  json_t **ret, struct enso_error *err) ENSO_MUST_CHECK;

/* What an answer of another status than 2xx says: {"error":{"message","param"}} or
 * {"error":"sentence"}, else the status alone. ENSO_NOT_FOUND (404) or ENSO_UNAVAILABLE. */
enum enso_status enso_client_refused(long code, const json_t *answer, struct enso_error *err);

/* Append `text` to a URL with all but unreserved characters escaped; '/' stays when keep_slashes
 * (ids of models in paths). */
void enso_buffer_put_url(struct enso_buffer *b, const char *text, int keep_slashes);

#endif
