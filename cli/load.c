/* SPDX-License-Identifier: Apache-2.0
 *
 * The load generator: see load.h.
 *
 * A slot is one request at a time on a libcurl easy handle; libcurl keeps the connections and gives
 * a starting slot whichever is idle. The loop sleeps in epoll on libcurl's sockets and one timerfd,
 * which is set to the earliest of: libcurl's own timer, the next arrival, the end.
 */
#include "cli/load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/clock.h"
#include "base/memory.h"
#include "cli/arrivals.h"
#include "cli/server_timing.h"

#define NEVER UINT64_MAX
#define N_EVENTS 256
#define MOST_REFUSED 100 /* connections, beside one for each slot: nobody is there */

struct load;

struct slot {
    struct load *load;
    CURL *curl;
    struct slot *next_idle;
    uint64_t due_ns; /* what latency counts from */
    bool measured;
    struct enso_server_timing timings[ENSO_LOAD_TIMINGS];
    size_t n_timings;
    char message[CURL_ERROR_SIZE];
};

struct load {
    const struct enso_load_spec *spec;
    struct enso_load_result *result;
    CURLM *multi;
    struct curl_slist *headers;
    struct slot *slots, *idle;
    unsigned n_busy;
    int epoll, timer;
    bool failed;                    /* epoll refused a socket: the run cannot go on */
    uint64_t curl_due_ns, timer_ns; /* libcurl's timer; what the timerfd is set to */
    uint64_t measure_ns, end_ns;    /* warm-up's end, last moment to start */
    uint64_t last_answer_ns;
    uint64_t n_started; /* measured ones */
    unsigned n_refused; /* connections, since the last answer */
    size_t next_body;
    struct enso_arrivals arrivals;
};

const char *enso_load_error_name(enum enso_load_error error)
{
    static const char *const names[] = {"connect", "closed", "timeout", "not_sent", "other"};

    return names[error];
}

/* --- libcurl's callbacks -----------------------------------------------------------------------
 */

static size_t on_data(char *data, size_t one, size_t size, void *user)
{
    struct slot *slot = user;

    (void)data;
    (void)one; /* always 1 */
    if (slot->measured)
        slot->load->result->bytes_in += size;
    return size;
}

static size_t on_header(char *line, size_t one, size_t size, void *user)
{
    static const char name[] = "Server-Timing:";
    struct slot *slot = user;
    size_t n = sizeof name - 1;

    (void)one; /* always 1 */
    if (slot->measured && size > n && strncasecmp(line, name, n) == 0)
        slot->n_timings +=
            enso_server_timing_parse(line + n, size - n, slot->timings + slot->n_timings,
                                     ENSO_LOAD_TIMINGS - slot->n_timings);
    return size;
}

/* The socket's epoll entry follows what libcurl wants; `known` is not NULL once it is in. */
static int on_socket(CURL *curl, curl_socket_t fd, int what, void *user, void *known)
{
    struct load *load = user;
    struct epoll_event event = {.data.fd = fd};

    (void)curl;
    if (what == CURL_POLL_REMOVE) {
        (void)epoll_ctl(load->epoll, EPOLL_CTL_DEL, fd, NULL); /* may be closed already */
        return 0;
    }
    event.events =
        ((what & CURL_POLL_IN) != 0 ? EPOLLIN : 0u) | ((what & CURL_POLL_OUT) != 0 ? EPOLLOUT : 0u);
    if (epoll_ctl(load->epoll, known != NULL ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) != 0) {
        /* a descriptor that was closed and given out again behind our back */
        int other = errno == ENOENT ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

        if (epoll_ctl(load->epoll, other, fd, &event) != 0)
            load->failed = true;
    }
    if (known == NULL)
        curl_multi_assign(load->multi, fd, load);
    return 0;
}

static int on_timer(CURLM *multi, long ms, void *user)
{
    struct load *load = user;

    (void)multi;
    load->curl_due_ns = ms < 0 ? NEVER : enso_clock_now_ns() + (uint64_t)ms * ENSO_NS_PER_MS;
    return 0;
}

static curl_socket_t on_open(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct slot *slot = user;

    (void)purpose;
    slot->load->result->n_opened++;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* --- set-up ------------------------------------------------------------------------------------
 */

static void set_options(struct load *load, struct slot *slot)
{
    const struct enso_load_spec *spec = load->spec;
    CURL *curl = slot->curl;

    curl_easy_setopt(curl, CURLOPT_URL, spec->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    if (spec->unix_path != NULL)
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, spec->unix_path);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, load->headers);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(spec->timeout_ns / ENSO_NS_PER_MS));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, slot);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, slot);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, slot);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, slot->message);
    curl_easy_setopt(curl, CURLOPT_PRIVATE, slot);
    if (spec->n_bodies != 0)
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
    if (spec->method != NULL && strcmp(spec->method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    else if (spec->method != NULL)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, spec->method);
}

static enum enso_status make_headers(struct load *load, struct enso_error *err)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:"); /* bodies go at once */

    load->headers = list;
    for (size_t i = 0; list != NULL && i < load->spec->n_headers; i++)
        list = curl_slist_append(load->headers, load->spec->headers[i]);
    return list != NULL ? ENSO_OK : enso_error_no_memory(err, "the headers");
}

static enum enso_status make_slots(struct load *load, struct enso_error *err)
{
    load->slots = enso_alloc_zero(load->spec->n_connections, sizeof *load->slots);
    if (load->slots == NULL)
        return enso_error_no_memory(err, "the connections");
    for (unsigned i = load->spec->n_connections; i-- > 0;) {
        struct slot *slot = &load->slots[i];

        slot->load = load;
        slot->curl = curl_easy_init();
        if (slot->curl == NULL)
            return enso_error_no_memory(err, "the connections");
        set_options(load, slot);
        slot->next_idle = load->idle;
        load->idle = slot;
    }
    return ENSO_OK;
}

static enum enso_status make_multi(struct load *load, struct enso_error *err)
{
    struct epoll_event event = {.events = EPOLLIN};

    load->multi = curl_multi_init();
    if (load->multi == NULL)
        return enso_error_no_memory(err, "the connections");
    curl_multi_setopt(load->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(load->multi, CURLMOPT_SOCKETDATA, load);
    curl_multi_setopt(load->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(load->multi, CURLMOPT_TIMERDATA, load);
    curl_multi_setopt(load->multi, CURLMOPT_MAXCONNECTS, (long)load->spec->n_connections);
    curl_multi_setopt(load->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    load->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    event.data.fd = load->timer;
    if (load->epoll < 0 || load->timer < 0 ||
        epoll_ctl(load->epoll, EPOLL_CTL_ADD, load->timer, &event) != 0)
        return enso_error_set(err, ENSO_IO, "epoll and timerfd: %s", strerror(errno));
    return ENSO_OK;
}

static void tear_down(struct load *load)
{
    for (unsigned i = 0; load->slots != NULL && i < load->spec->n_connections; i++) {
        if (load->slots[i].curl == NULL)
            continue;
        curl_multi_remove_handle(load->multi, load->slots[i].curl);
        curl_easy_cleanup(load->slots[i].curl);
    }
    curl_multi_cleanup(load->multi);
    curl_slist_free_all(load->headers);
    enso_free(load->slots);
    if (load->timer >= 0)
        (void)close(load->timer); /* nothing to lose */
    if (load->epoll >= 0)
        (void)close(load->epoll);
}

/* --- results -----------------------------------------------------------------------------------
 */

static void record_timings(struct load *load, const struct slot *slot)
{
    struct enso_load_result *r = load->result;

    for (size_t i = 0; i < slot->n_timings; i++) {
        size_t at = 0;

        while (at < r->n_timings && strcmp(r->timings[at].name, slot->timings[i].name) != 0)
            at++;
        if (at == ENSO_LOAD_TIMINGS)
            continue;
        if (at == r->n_timings) {
            if (enso_latency_init(&r->timings[at].ns, NULL) != ENSO_OK)
                continue; /* a statistic less */
            memcpy(r->timings[at].name, slot->timings[i].name, sizeof r->timings[at].name);
            r->n_timings++;
        }
        enso_latency_record(&r->timings[at].ns, (uint64_t)ENSO_MIN(slot->timings[i].ms * 1e6,
                                                                   (double)ENSO_LATENCY_MAX_NS));
    }
}

static enum enso_load_error kind_of(CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_SSL_CONNECT_ERROR:
        return ENSO_LOAD_CONNECT;
    case CURLE_OPERATION_TIMEDOUT:
        return ENSO_LOAD_TIMEOUT;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
        return ENSO_LOAD_CLOSED;
    default:
        return ENSO_LOAD_OTHER;
    }
}

static void record_error(struct load *load, const struct slot *slot, CURLcode code)
{
    struct enso_load_result *r = load->result;
    const char *why = slot->message[0] != '\0' ? slot->message : curl_easy_strerror(code);

    r->errors[kind_of(code)] += slot->measured;
    if (r->error_example[0] == '\0')
        (void)snprintf(r->error_example, sizeof r->error_example, "%s", why); /* cut */
}

static void finish_slot(struct load *load, struct slot *slot, CURLcode code)
{
    struct enso_load_result *r = load->result;
    uint64_t now_ns = enso_clock_now_ns();
    long status = 0;

    load->n_refused = code == CURLE_OK                     ? 0
                      : kind_of(code) == ENSO_LOAD_CONNECT ? load->n_refused + 1
                                                           : load->n_refused;
    if (slot->measured && code == CURLE_OK) {
        curl_easy_getinfo(slot->curl, CURLINFO_RESPONSE_CODE, &status);
        r->n_answers++;
        r->statuses[status >= 100 && status < 600 ? status : 0]++;
        record_timings(load, slot);
        load->last_answer_ns = now_ns;
    } else if (code != CURLE_OK) {
        record_error(load, slot, code);
    }
    if (slot->measured && status >= 200 && status < 300)
        r->n_ok++;
    if (slot->measured && ((status >= 200 && status < 300) || code == CURLE_OPERATION_TIMEDOUT))
        enso_latency_record(&r->latency, now_ns - ENSO_MIN(slot->due_ns, now_ns));
    curl_multi_remove_handle(load->multi, slot->curl);
    slot->next_idle = load->idle;
    load->idle = slot;
    load->n_busy--;
}

/* --- the loop ----------------------------------------------------------------------------------
 */

static void start_one(struct load *load, uint64_t due_ns)
{
    const struct enso_load_spec *spec = load->spec;
    struct slot *slot = load->idle;

    load->idle = slot->next_idle;
    load->n_busy++;
    slot->due_ns = due_ns;
    slot->measured = due_ns >= load->measure_ns;
    slot->n_timings = 0;
    slot->message[0] = '\0';
    load->n_started += slot->measured;
    if (spec->n_bodies != 0) {
        const struct enso_load_body *body = &spec->bodies[load->next_body++ % spec->n_bodies];

        curl_easy_setopt(slot->curl, CURLOPT_POSTFIELDS, body->data);
        curl_easy_setopt(slot->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->size);
    }
    if (curl_multi_add_handle(load->multi, slot->curl) != CURLM_OK)
        load->failed = true;
}

/* The measured requests are all started, or time is over. */
static bool no_more(const struct load *load, uint64_t due_ns)
{
    return due_ns >= load->end_ns ||
           (load->spec->n_requests != 0 && load->n_started >= load->spec->n_requests);
}

static void start_due(struct load *load, uint64_t now_ns)
{
    bool open = load->spec->rate > 0;

    while (load->idle != NULL && !load->failed) {
        uint64_t due_ns = open ? enso_arrivals_next_ns(&load->arrivals) : now_ns;

        if (due_ns > now_ns || no_more(load, due_ns))
            break;
        start_one(load, due_ns);
        if (open)
            enso_arrivals_advance(&load->arrivals);
    }
}

/* Open loop, time is over: what was due and found no connection has waited until now. */
static void count_unsent(struct load *load, uint64_t now_ns)
{
    while (load->spec->rate > 0) {
        uint64_t due_ns = enso_arrivals_next_ns(&load->arrivals);

        if (due_ns > now_ns || no_more(load, due_ns))
            break;
        enso_arrivals_advance(&load->arrivals);
        if (due_ns < load->measure_ns)
            continue;
        load->n_started++;
        load->result->errors[ENSO_LOAD_NOT_SENT]++;
        enso_latency_record(&load->result->latency, now_ns - due_ns);
    }
}

static void set_timer(struct load *load, uint64_t at_ns)
{
    struct itimerspec spec = {.it_value = {.tv_sec = (time_t)(at_ns / ENSO_NS_PER_S),
                                           .tv_nsec = (long)(at_ns % ENSO_NS_PER_S)}};

    /* One that is set too early wakes us in vain, which costs less than setting it each time. */
    if (load->timer_ns <= at_ns)
        return;
    load->timer_ns = at_ns;
    if (timerfd_settime(load->timer, TFD_TIMER_ABSTIME, &spec, NULL) != 0)
        load->failed = true;
}

static void take_messages(struct load *load)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(load->multi, &left)) != NULL) {
        struct slot *slot = NULL;
        CURLcode code = message->data.result;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &slot);
        finish_slot(load, slot, code); /* message is gone with this */
    }
}

/* When the loop must wake although no socket stirs. */
static uint64_t next_wake(const struct load *load, bool starting)
{
    uint64_t wake_ns = load->curl_due_ns;

    if (starting && load->spec->rate > 0 && load->idle != NULL)
        wake_ns = ENSO_MIN(wake_ns, enso_arrivals_next_ns(&load->arrivals));
    if (starting)
        wake_ns = ENSO_MIN(wake_ns, load->end_ns);
    return wake_ns;
}

static void wait_events(struct load *load, uint64_t now_ns, uint64_t wake_ns)
{
    struct epoll_event events[N_EVENTS];
    int running, n;

    if (wake_ns > now_ns && wake_ns != NEVER)
        set_timer(load, wake_ns);
    n = epoll_wait(load->epoll, events, N_EVENTS, wake_ns <= now_ns ? 0 : 500);
    for (int i = 0; i < n; i++) {
        uint32_t e = events[i].events;
        uint64_t expirations;
        int mask = ((e & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0) |
                   ((e & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
                   ((e & (EPOLLERR | EPOLLHUP)) != 0 ? CURL_CSELECT_ERR : 0);

        if (events[i].data.fd == load->timer) {
            (void)!read(load->timer, &expirations, sizeof expirations); /* just quiet it */
            load->timer_ns = NEVER;
        } else if (curl_multi_socket_action(load->multi, events[i].data.fd, mask, &running) !=
                   CURLM_OK) {
            load->failed = true;
        }
    }
    if (load->curl_due_ns <= enso_clock_now_ns()) {
        load->curl_due_ns = NEVER;
        if (curl_multi_socket_action(load->multi, CURL_SOCKET_TIMEOUT, 0, &running) != CURLM_OK)
            load->failed = true;
    }
}

static void run_loop(struct load *load)
{
    const struct enso_load_spec *spec = load->spec;
    bool starting = true;

    while (!load->failed) {
        uint64_t now_ns = enso_clock_now_ns();
        uint64_t due_ns = spec->rate > 0 ? enso_arrivals_next_ns(&load->arrivals) : now_ns;
        bool stopped = spec->stop != NULL && *spec->stop != 0;

        if (load->n_refused > MOST_REFUSED + spec->n_connections)
            load->result->gave_up = stopped = true;
        if (starting && !stopped)
            start_due(load, now_ns);
        if (starting && (stopped || now_ns >= load->end_ns || no_more(load, due_ns))) {
            starting = false;
            count_unsent(load, ENSO_MIN(now_ns, load->end_ns));
        }
        if (!starting && (load->n_busy == 0 || stopped))
            break;
        wait_events(load, now_ns, next_wake(load, starting));
        take_messages(load);
    }
}

static enum enso_status prepare(struct load *load, struct enso_error *err)
{
    const struct enso_load_spec *spec = load->spec;
    uint64_t now_ns;
    enum enso_status st = enso_latency_init(&load->result->latency, err);

    if (st == ENSO_OK)
        st = make_headers(load, err);
    if (st == ENSO_OK)
        st = make_multi(load, err);
    if (st == ENSO_OK)
        st = make_slots(load, err);
    now_ns = enso_clock_now_ns();
    load->measure_ns = load->last_answer_ns = now_ns + spec->warmup_ns;
    load->end_ns = spec->duration_ns != 0 ? load->measure_ns + spec->duration_ns : NEVER;
    if (spec->rate > 0)
        enso_arrivals_init(&load->arrivals, spec->rate, spec->poisson, spec->seed, now_ns);
    return st;
}

enum enso_status enso_load_run(const struct enso_load_spec *spec, struct enso_load_result *ret,
                               struct enso_error *err)
{
    struct load load = {.spec = spec,
                        .result = ret,
                        .epoll = -1,
                        .timer = -1,
                        .curl_due_ns = NEVER,
                        .timer_ns = NEVER};
    enum enso_status st;

    memset(ret, 0, sizeof *ret);
    st = prepare(&load, err);
    if (st == ENSO_OK) {
        run_loop(&load);
        ret->seconds = (double)(load.last_answer_ns - load.measure_ns) * 1e-9;
        if (load.failed)
            st = enso_error_set(err, ENSO_IO, "the connections could not be watched any more");
    }
    tear_down(&load);
    return st;
}

void enso_load_result_done(struct enso_load_result *result)
{
    enso_latency_done(&result->latency);
    for (size_t i = 0; i < result->n_timings; i++)
        enso_latency_done(&result->timings[i].ns);
    result->n_timings = 0;
}
