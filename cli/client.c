/* SPDX-License-Identifier: Apache-2.0
 *
 * One server asked one question after the other: see client.h.
 */
#include "cli/client.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/memory.h"
#include "cli/options.h"

#define ANSWER_MAX ((size_t)1 << 30)
#define VALUES_MAX 50000000 /* of one JSON answer */
#define CONNECT_SECONDS 10

struct enso_client {
    CURL *curl;
    struct enso_server_address address;
    char message[CURL_ERROR_SIZE];
};

/* --- addresses ---------------------------------------------------------------------------------
 */

static char *concatenate(const char *a, const char *b)
{
    struct enso_buffer text = ENSO_BUFFER_INIT;

    enso_buffer_puts(&text, a);
    enso_buffer_puts(&text, b);
    return enso_buffer_detach(&text, NULL);
}

enum enso_status enso_server_address_init(struct enso_server_address *address, const char *server,
                                          struct enso_error *err)
{
    const char *environment = getenv("ENSO_SERVER");

    if (server == NULL)
        server =
            environment != NULL && *environment != '\0' ? environment : ENSO_CLIENT_DEFAULT_SERVER;
    *address = (struct enso_server_address){.given = server};
    if (strncmp(server, "unix:", 5) == 0) {
        if (server[5] == '\0')
            return enso_cli_usage(err, "the server '%s' names no socket; write unix:PATH", server);
        address->unix_path = enso_strdup(server + 5);
        address->url = enso_strdup("http://localhost");
    } else if (strncmp(server, "http://", 7) == 0 || strncmp(server, "https://", 8) == 0) {
        address->url = enso_strdup(server);
    } else if (*server == '\0' || strstr(server, "://") != NULL || strchr(server, ' ') != NULL) {
        return enso_cli_usage(err,
                              "the server '%.100s' is no address; write http://HOST:PORT, "
                              "HOST:PORT or unix:PATH",
                              server);
    } else {
        address->url = concatenate("http://", server);
    }
    if (address->url == NULL || (strncmp(server, "unix:", 5) == 0 && address->unix_path == NULL)) {
        enso_server_address_done(address);
        return enso_error_no_memory(err, "the server's address");
    }
    for (size_t n = strlen(address->url); n > 0 && address->url[n - 1] == '/'; n--)
        address->url[n - 1] = '\0';
    return ENSO_OK;
}

void enso_server_address_done(struct enso_server_address *address)
{
    enso_free(address->url);
    enso_free(address->unix_path);
    *address = (struct enso_server_address){0};
}

void enso_buffer_put_url(struct enso_buffer *b, const char *text, int keep_slashes)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if ((c < 0x80 && isalnum(c)) || strchr("-._~", c) != NULL || (keep_slashes && c == '/'))
            enso_buffer_putc(b, (char)c);
        else
            enso_buffer_printf(b, "%%%02X", c);
    }
}

/* --- calls -------------------------------------------------------------------------------------
 */

enum enso_status enso_client_create(const char *server, struct enso_client **ret,
                                    struct enso_error *err)
{
    struct enso_client *client = enso_alloc_zero(1, sizeof *client);
    enum enso_status st;

    if (client == NULL)
        return enso_error_no_memory(err, "the client");
    st = enso_server_address_init(&client->address, server, err);
    if (st == ENSO_OK && (client->curl = curl_easy_init()) == NULL)
        st = enso_error_no_memory(err, "the client");
    if (st != ENSO_OK) {
        enso_client_destroy(client);
        return st;
    }
    *ret = client;
    return ENSO_OK;
}

void enso_client_destroy(struct enso_client *client)
{
    if (client == NULL)
        return;
    curl_easy_cleanup(client->curl);
    enso_server_address_done(&client->address);
    enso_free(client);
}

static size_t on_data(char *data, size_t one, size_t size, void *user)
{
    struct enso_buffer *b = user;

    (void)one; /* always 1 */
    enso_buffer_append(b, data, size);
    return b->failed ? 0 : size;
}

/* Options of this call; libcurl copies strings but not the body. */
static void prepare(struct enso_client *client, const struct enso_client_request *request,
                    const char *url, struct curl_slist *headers, struct enso_buffer *answer)
{
    CURL *curl = client->curl;

    curl_easy_reset(curl); /* keeps connections */
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    if (client->address.unix_path != NULL)
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->address.unix_path);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->message);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    if (request->timeout_ns != 0)
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS,
                         (long)ENSO_MAX(request->timeout_ns / ENSO_NS_PER_MS, (uint64_t)1));
    if (request->body != NULL) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size);
    }
}

static enum enso_status transport_error(const struct enso_client *client, CURLcode code,
                                        const struct enso_buffer *answer, struct enso_error *err)
{
    const char *why = client->message[0] != '\0' ? client->message : curl_easy_strerror(code);

    if (answer->failed)
        return enso_error_set(err, ENSO_TOO_LARGE, "the answer of %s does not fit in memory",
                              client->address.given);
    if (code == CURLE_COULDNT_CONNECT)
        return enso_error_set(err, ENSO_UNAVAILABLE,
                              "no server answers at %s: %s; start ensod, or name another with "
                              "--server",
                              client->address.given, why);
    return enso_error_set(err, ENSO_UNAVAILABLE, "asking %s failed: %s", client->address.given,
                          why);
}

enum enso_status enso_client_fetch(struct enso_client *client,
                                   const struct enso_client_request *request, long *ret_code,
                                   struct enso_buffer *answer, struct enso_error *err)
{
    ENSO_AUTO_FREE char *url = concatenate(client->address.url, request->path);
    const char *type = request->content_type != NULL ? request->content_type : "application/json";
    ENSO_AUTO_FREE char *line = concatenate("Content-Type: ", type);
    struct curl_slist *headers = line != NULL ? curl_slist_append(NULL, line) : NULL;
    CURLcode code;

    if (url == NULL || headers == NULL) {
        curl_slist_free_all(headers);
        return enso_error_no_memory(err, "the request");
    }
    enso_buffer_clear(answer);
    answer->limit = ANSWER_MAX;
    client->message[0] = '\0';
    prepare(client, request, url, headers, answer);
    code = curl_easy_perform(client->curl);
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);
    if (code != CURLE_OK)
        return transport_error(client, code, answer, err);
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, ret_code);
    return ENSO_OK;
}

enum enso_status enso_client_refused(long code, const json_t *answer, struct enso_error *err)
{
    const json_t *error = json_object_get(answer, "error");
    const char *message =
        json_string_value(json_is_object(error) ? json_object_get(error, "message") : error);
    const char *param = json_string_value(json_object_get(error, "param"));

    if (param != NULL)
        enso_error_param(err, "%s", param);
    if (message == NULL)
        return enso_error_set(err, ENSO_UNAVAILABLE,
                              "the server answered with HTTP status %ld and no reason", code);
    return enso_error_set(err, code == 404 ? ENSO_NOT_FOUND : ENSO_UNAVAILABLE, "%s (HTTP %ld)",
                          message, code);
}

enum enso_status enso_client_call(struct enso_client *client,
                                  const struct enso_client_request *request, json_t **ret,
                                  struct enso_error *err)
{
    static const struct enso_json_limits limits = {64, VALUES_MAX};
    struct enso_buffer answer = ENSO_BUFFER_INIT;
    struct enso_error parse_error = {0};
    json_t *tree = NULL;
    long code = 0;
    enum enso_status st = enso_client_fetch(client, request, &code, &answer, err);
    enum enso_status parsed = ENSO_OK;

    if (st == ENSO_OK)
        parsed = enso_json_parse(answer.data != NULL ? answer.data : "", answer.size, &limits,
                                 &tree, &parse_error);
    enso_buffer_done(&answer);
    if (st != ENSO_OK)
        return st;
    if (code < 200 || code > 299) {
        st = enso_client_refused(code, tree, err);
    } else if (parsed != ENSO_OK) {
        st = enso_error_set(err, ENSO_UNAVAILABLE,
                            "%s answered, but not with JSON; is it an ensod? (%s)",
                            client->address.given, parse_error.message);
    } else {
        *ret = tree;
        return ENSO_OK;
    }
    json_decref(tree);
    return st;
}

enum enso_status enso_client_post(struct enso_client *client, const char *path, json_t *body,
                                  json_t **ret, struct enso_error *err)
{
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    enum enso_status st;

    json_decref(body);
    if (text == NULL)
        return enso_error_no_memory(err, "the request");
    st = enso_client_call(
        client,
        &(struct enso_client_request){.path = path, .body = text, .body_size = strlen(text)}, ret,
        err);
    enso_free(text); /* Jansson allocates through base/memory.h */
    return st;
}
