/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP transport alone: GET answers "ok" on the loop, POST waits for a worker thread that
 * answers whatever has gathered as one batch, through one wake-up. What is missing to the daemon is
 * JSON, batching and logs, so this is the ceiling they work under.
 *
 *     bench/http_transport 127.0.0.1:8098
 *     wrk -t1 -c32 -d5 http://127.0.0.1:8098/health
 *
 * Ends on SIGINT or SIGTERM with a drain.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/memory.h"
#include "server/http.h"
#include "server/listener.h"
#include "server/loop.h"

struct work {
    struct enso_http_call *call;
    struct work *next;
};

static struct enso_loop *loop;
static struct enso_http *http;
static struct enso_listener *listener;
static struct enso_wakeup *wakeup;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER;
static struct work *queue, **queue_end = &queue, *finished;
static bool stopping;

static void *run_worker(void *argument)
{
    (void)argument;
    pthread_mutex_lock(&lock);
    for (;;) {
        struct work *batch, *last;

        while (queue == NULL && !stopping)
            pthread_cond_wait(&filled, &lock);
        if (queue == NULL)
            break;
        batch = last = queue;
        queue = NULL;
        queue_end = &queue;
        pthread_mutex_unlock(&lock);
        while (last->next != NULL) /* the work would be here */
            last = last->next;
        pthread_mutex_lock(&lock);
        last->next = finished;
        finished = batch;
        enso_wakeup_send(wakeup);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void on_finished(void *user)
{
    struct work *work, *next;

    (void)user;
    pthread_mutex_lock(&lock);
    work = finished;
    finished = NULL;
    pthread_mutex_unlock(&lock);
    for (; work != NULL; work = next) {
        struct enso_buffer body = ENSO_BUFFER_INIT;

        next = work->next;
        enso_buffer_puts(&body, "{\"label\":\"ok\"}");
        enso_http_respond_json(work->call, 200, NULL, 0, &body);
        (void)enso_http_call_unref(work->call); /* the worker's */
        enso_free(work);
    }
}

static void on_call(struct enso_http_call *call, void *user)
{
    struct work *work;
    bool first;

    (void)user;
    if (strcmp(enso_http_call_method(call), "POST") != 0) {
        struct enso_buffer body = ENSO_BUFFER_INIT;

        enso_buffer_puts(&body, "ok\n");
        enso_http_respond(call, 200, NULL, 0, &body);
        return;
    }
    work = enso_alloc(sizeof *work);
    if (work == NULL) {
        enso_http_respond_error(call, 503, NULL, 0, "out of memory");
        return;
    }
    work->call = enso_http_call_ref(call);
    work->next = NULL;
    pthread_mutex_lock(&lock);
    first = queue == NULL;
    *queue_end = work;
    queue_end = &work->next;
    if (first)
        pthread_cond_signal(&filled);
    pthread_mutex_unlock(&lock);
}

static bool on_socket(int fd, const struct sockaddr *peer, socklen_t peer_size, void *user)
{
    struct enso_error err = {0};

    (void)user;
    if (enso_http_add_socket(http, fd, peer, peer_size, &err) != ENSO_OK)
        fprintf(stderr, "%s\n", err.message);
    return !enso_http_is_full(http);
}

static void on_trouble(const char *sentence, void *user)
{
    (void)user;
    fprintf(stderr, "%s\n", sentence);
}

static void on_signal(void *user)
{
    (void)user;
    enso_listener_stop(listener);
    enso_http_stop_accepting(http);
    enso_loop_stop(loop);
}

int main(int argc, char **argv)
{
    struct enso_http_options options = {.callbacks = {.on_call = on_call}};
    struct enso_listener_callbacks callbacks = {.on_socket = on_socket, .on_trouble = on_trouble};
    struct enso_signal *interrupt, *terminate;
    struct enso_error err = {0};
    struct rlimit files;
    pthread_t worker;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files); /* a lower limit shows itself */
    }
    loop = enso_loop_create(&err);
    if (loop == NULL || (wakeup = enso_wakeup_create(loop, on_finished, NULL, &err)) == NULL ||
        (interrupt = enso_signal_create(loop, SIGINT, on_signal, NULL, &err)) == NULL ||
        (terminate = enso_signal_create(loop, SIGTERM, on_signal, NULL, &err)) == NULL ||
        enso_http_create(loop, &options, &http, &err) != ENSO_OK ||
        enso_listener_create(loop, argc > 1 ? argv[1] : "127.0.0.1:8098", &callbacks, &listener,
                             &err) != ENSO_OK ||
        pthread_create(&worker, NULL, run_worker, NULL) != 0) {
        fprintf(stderr, "http_transport: %s\n", err.message);
        return 1;
    }
    printf("listening on %s\n", enso_listener_address(listener));
    fflush(stdout);
    enso_loop_run(loop);
    pthread_mutex_lock(&lock);
    stopping = true;
    pthread_cond_signal(&filled);
    pthread_mutex_unlock(&lock);
    pthread_join(worker, NULL);
    on_finished(NULL);
    enso_http_finish(http, 500);
    enso_http_destroy(http);
    enso_listener_destroy(listener);
    enso_signal_destroy(interrupt);
    enso_signal_destroy(terminate);
    enso_wakeup_destroy(wakeup);
    enso_loop_destroy(loop);
    return 0;
}
