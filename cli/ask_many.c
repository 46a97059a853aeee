/* SPDX-License-Identifier: Apache-2.0
 *
 * Many requests until all are answered: see ask_many.h. A slot is one request at a time on a
 * libcurl easy handle; between two attempts it waits, and holds its request.
 */
#include "cli/ask_many.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "base/clock.h"
#include "base/memory.h"

#define ANSWER_MAX ((size_t)64 << 20)
#define TICK_MS 100
#define DEFAULT_RETRY_MS 1000
#define LONGEST_RETRY_MS (24 * 3600 * 1000L)
#define CONNECT_MS 10000

enum state { IDLE, FLYING, WAITING };

struct slot {
    CURL *curl;
    struct curl_slist *headers;
    enum state state;
    struct enso_ask_request request;
    struct enso_buffer answer;
    uint64_t first_ns, sent_ns, retry_ns; /* first and last attempt, the next one */
    long retry_ms, retry_s;               /* as the server said; -1: it did not */
    char message[CURL_ERROR_SIZE];
};

struct asking {
    const struct enso_ask_spec *spec;
    CURLM *multi;
    struct slot *slots;
    unsigned n_busy;                /* flying or waiting */
    bool drained;                   /* there are no more requests */
    uint64_t n_done;                /* attempts that ended */
    uint64_t n_answers, success_ns; /* the last 2xx */
};

/* --- libcurl's callbacks -----------------------------------------------------------------------
 */

static size_t on_data(char *data, size_t one, size_t size, void *user)
{
    struct slot *slot = user;

    (void)one; /* always 1 */
    enso_buffer_append(&slot->answer, data, size);
    return slot->answer.failed ? 0 : size;
}

/* The number of a header "name: number", or -1. */
static long header_number(const char *line, size_t size, const char *name, long most)
{
    size_t at = strlen(name);
    long value = -1;

    if (size <= at || strncasecmp(line, name, at) != 0)
        return -1;
    while (at < size && (line[at] == ' ' || line[at] == '\t'))
        at++;
    for (; at < size && line[at] >= '0' && line[at] <= '9'; at++)
        value = ENSO_MIN((value < 0 ? 0 : value) * 10 + (line[at] - '0'), most);
    return value;
}

static size_t on_header(char *line, size_t one, size_t size, void *user)
{
    struct slot *slot = user;
    long ms = header_number(line, size, "retry-after-ms:", LONGEST_RETRY_MS);
    long s = header_number(line, size, "retry-after:", LONGEST_RETRY_MS / 1000);

    (void)one; /* always 1 */
    if (ms >= 0)
        slot->retry_ms = ms;
    if (s >= 0)
        slot->retry_s = s;
    return size;
}

/* --- set-up ------------------------------------------------------------------------------------
 */

static void set_options(const struct enso_ask_spec *spec, struct slot *slot)
{
    CURL *curl = slot->curl;

    curl_easy_setopt(curl, CURLOPT_URL, spec->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    if (spec->unix_path != NULL)
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, spec->unix_path);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, slot);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, slot);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, slot->message);
    curl_easy_setopt(curl, CURLOPT_PRIVATE, slot);
}

static enum enso_status set_up(struct asking *asking, struct enso_error *err)
{
    const struct enso_ask_spec *spec = asking->spec;

    asking->slots = enso_alloc_zero(spec->n_in_flight, sizeof *asking->slots);
    asking->multi = curl_multi_init();
    if (asking->slots == NULL || asking->multi == NULL)
        return enso_error_no_memory(err, "the connections");
    curl_multi_setopt(asking->multi, CURLMOPT_MAXCONNECTS, (long)spec->n_in_flight);
    curl_multi_setopt(asking->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    for (unsigned i = 0; i < spec->n_in_flight; i++) {
        asking->slots[i].curl = curl_easy_init();
        if (asking->slots[i].curl == NULL)
            return enso_error_no_memory(err, "the connections");
        asking->slots[i].answer.limit = ANSWER_MAX;
        set_options(spec, &asking->slots[i]);
    }
    return ENSO_OK;
}

static void tear_down(struct asking *asking)
{
    for (unsigned i = 0; asking->slots != NULL && i < asking->spec->n_in_flight; i++) {
        struct slot *slot = &asking->slots[i];

        if (slot->state == FLYING)
            curl_multi_remove_handle(asking->multi, slot->curl);
        curl_easy_cleanup(slot->curl);
        curl_slist_free_all(slot->headers);
        enso_buffer_done(&slot->request.body);
        enso_buffer_done(&slot->request.name);
        enso_buffer_done(&slot->answer);
    }
    curl_multi_cleanup(asking->multi);
    enso_free(asking->slots);
}

/* --- attempts ----------------------------------------------------------------------------------
 */

/* The server's deadline is ours, so that it neither gives up early nor works for nobody. */
static enum enso_status set_headers(const struct enso_ask_spec *spec, struct slot *slot,
                                    struct enso_error *err)
{
    char type[128], deadline[64];
    const char *const lines[] = {"Expect:", type, deadline}; /* no Expect: bodies go at once */
    struct curl_slist *list = NULL;

    (void)snprintf(type, sizeof type, "Content-Type: %s", slot->request.content_type); /* fit */
    (void)snprintf(deadline, sizeof deadline, "X-Request-Timeout: %.3f",
                   (double)spec->timeout_ns * 1e-9);
    curl_slist_free_all(slot->headers);
    slot->headers = NULL;
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(lines); i++) {
        list = curl_slist_append(slot->headers, lines[i]);
        if (list == NULL)
            return enso_error_no_memory(err, "a request");
        slot->headers = list;
    }
    curl_easy_setopt(slot->curl, CURLOPT_HTTPHEADER, slot->headers);
    return ENSO_OK;
}

static enum enso_status send_request(struct asking *asking, struct slot *slot, uint64_t now_ns,
                                     struct enso_error *err)
{
    uint64_t end_ns = slot->first_ns + asking->spec->timeout_ns;
    uint64_t left_ms = end_ns > now_ns ? (end_ns - now_ns) / ENSO_NS_PER_MS : 0;

    enso_buffer_clear(&slot->answer);
    slot->retry_ms = slot->retry_s = -1;
    slot->message[0] = '\0';
    slot->sent_ns = now_ns;
    curl_easy_setopt(slot->curl, CURLOPT_TIMEOUT_MS, (long)ENSO_MAX(left_ms, (uint64_t)1));
    curl_easy_setopt(slot->curl, CURLOPT_POSTFIELDS,
                     slot->request.body.data != NULL ? slot->request.body.data : "");
    curl_easy_setopt(slot->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)slot->request.body.size);
    if (curl_multi_add_handle(asking->multi, slot->curl) != CURLM_OK)
        return enso_error_no_memory(err, "a request");
    slot->state = FLYING;
    return ENSO_OK;
}

/* Draw requests for idle slots; send again what has waited long enough. */
static enum enso_status start_slots(struct asking *asking, uint64_t now_ns, struct enso_error *err)
{
    const struct enso_ask_spec *spec = asking->spec;
    enum enso_status st = ENSO_OK;

    for (unsigned i = 0; st == ENSO_OK && i < spec->n_in_flight; i++) {
        struct slot *slot = &asking->slots[i];
        bool more = true;

        if (slot->state == WAITING && slot->retry_ns <= now_ns) {
            st = send_request(asking, slot, now_ns, err);
        } else if (slot->state == IDLE && !asking->drained) {
            enso_buffer_clear(&slot->request.body);
            enso_buffer_clear(&slot->request.name);
            st = spec->next(spec->user, &slot->request, &more, err);
            asking->drained = !more;
            if (st != ENSO_OK || !more)
                continue;
            st = set_headers(spec, slot, err);
            slot->first_ns = now_ns = enso_clock_now_ns();
            if (st == ENSO_OK)
                st = send_request(asking, slot, now_ns, err);
            asking->n_busy += st == ENSO_OK;
        }
    }
    return st;
}

static bool try_later(const struct asking *asking, struct slot *slot, long code, uint64_t now_ns)
{
    long ms = slot->retry_ms >= 0  ? slot->retry_ms
              : slot->retry_s >= 0 ? slot->retry_s * 1000
                                   : DEFAULT_RETRY_MS;

    if (code != 429 && code != 503)
        return false;
    slot->retry_ns = now_ns + (uint64_t)ENSO_MAX(ms, 1L) * ENSO_NS_PER_MS;
    return slot->retry_ns < slot->first_ns + asking->spec->timeout_ns;
}

/* The request has its last word. */
static enum enso_status give(struct asking *asking, struct slot *slot, long code, uint64_t now_ns,
                             struct enso_error *err)
{
    const struct enso_ask_spec *spec = asking->spec;
    struct enso_ask_answer answer = {.request = &slot->request,
                                     .code = code,
                                     .body = slot->answer.data,
                                     .size = code != 0 ? slot->answer.size : 0,
                                     .latency_ns = now_ns - slot->sent_ns};

    slot->state = IDLE;
    asking->n_busy--;
    asking->n_answers++;
    if ((code == 0 || code == 429 || code == 503) && asking->success_ns < slot->first_ns)
        return enso_error_set(
            err, ENSO_UNAVAILABLE,
            "%s has answered nothing with success for %.3g s%s; %llu answers came "
            "before",
            spec->server, (double)spec->timeout_ns * 1e-9,
            code == 429   ? " (HTTP 429: it is busy)"
            : code == 503 ? " (HTTP 503: it is not ready)"
                          : "",
            (unsigned long long)asking->n_answers - 1);
    if (code >= 200 && code < 300)
        asking->success_ns = now_ns;
    return spec->answered(spec->user, &answer, err);
}

static enum enso_status finish(struct asking *asking, struct slot *slot, CURLcode result,
                               struct enso_error *err)
{
    uint64_t now_ns = enso_clock_now_ns();
    long code = 0;

    curl_easy_getinfo(slot->curl, CURLINFO_RESPONSE_CODE, &code);
    curl_multi_remove_handle(asking->multi, slot->curl);
    slot->state = WAITING;
    if (slot->answer.failed && slot->answer.size + CURL_MAX_WRITE_SIZE <= ANSWER_MAX)
        return enso_error_no_memory(err, "an answer");
    if (slot->answer.failed)
        return enso_error_set(err, ENSO_TOO_LARGE, "an answer of %s is over 64 MiB",
                              asking->spec->server);
    /* libcurl's milliseconds end a little early; a connection that cannot be made is another matter
     */
    if (result == CURLE_OPERATION_TIMEDOUT &&
        now_ns - slot->first_ns + 2 * ENSO_NS_PER_MS >= asking->spec->timeout_ns)
        return give(asking, slot, 0, now_ns, err);
    if (result != CURLE_OK)
        return enso_error_set(err, ENSO_UNAVAILABLE,
                              "asking %s failed after %llu answers: %s; is the server still there?",
                              asking->spec->server, (unsigned long long)asking->n_answers,
                              slot->message[0] != '\0' ? slot->message
                                                       : curl_easy_strerror(result));
    return try_later(asking, slot, code, now_ns) ? ENSO_OK : give(asking, slot, code, now_ns, err);
}

static enum enso_status take_messages(struct asking *asking, struct enso_error *err)
{
    CURLMsg *message;
    int left;
    enum enso_status st = ENSO_OK;

    while (st == ENSO_OK && (message = curl_multi_info_read(asking->multi, &left)) != NULL) {
        struct slot *slot = NULL;
        CURLcode result = message->data.result;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &slot);
        asking->n_done++;
        st = finish(asking, slot, result, err); /* message is gone with this */
    }
    return st;
}

/* Milliseconds to sleep at most: a waiting slot wakes in time. */
static int sleep_ms(const struct asking *asking, uint64_t now_ns)
{
    uint64_t ns = TICK_MS * ENSO_NS_PER_MS;

    for (unsigned i = 0; i < asking->spec->n_in_flight; i++) {
        const struct slot *slot = &asking->slots[i];

        if (slot->state == WAITING)
            ns = ENSO_MIN(ns, slot->retry_ns > now_ns ? slot->retry_ns - now_ns : 0);
    }
    return (int)((ns + ENSO_NS_PER_MS - 1) / ENSO_NS_PER_MS);
}

static enum enso_status unwatchable(struct enso_error *err)
{
    return enso_error_set(err, ENSO_IO, "the connections could not be watched any more");
}

static enum enso_status run(struct asking *asking, struct enso_error *err)
{
    const struct enso_ask_spec *spec = asking->spec;
    enum enso_status st = ENSO_OK;
    uint64_t n_before;
    int running;

    while (st == ENSO_OK) {
        uint64_t now_ns = enso_clock_now_ns();

        if (spec->stop != NULL && *spec->stop != 0)
            return ENSO_CANCELLED;
        st = start_slots(asking, now_ns, err);
        if (st != ENSO_OK || asking->n_busy == 0)
            break;
        if (curl_multi_perform(asking->multi, &running) != CURLM_OK)
            return unwatchable(err);
        n_before = asking->n_done;
        st = take_messages(asking, err);
        /* Sleep only when nothing has ended: a free slot has a request to send. */
        if (st == ENSO_OK && asking->n_done == n_before &&
            curl_multi_poll(asking->multi, NULL, 0, sleep_ms(asking, now_ns), NULL) != CURLM_OK)
            return unwatchable(err);
        if (spec->tick != NULL)
            spec->tick(spec->user, enso_clock_now_ns());
    }
    return st;
}

enum enso_status enso_ask_many(const struct enso_ask_spec *spec, struct enso_error *err)
{
    struct asking asking = {.spec = spec};
    enum enso_status st = set_up(&asking, err);

    if (st == ENSO_OK)
        st = run(&asking, err);
    tear_down(&asking);
    return st;
}
