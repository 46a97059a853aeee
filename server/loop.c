/* SPDX-License-Identifier: Apache-2.0
 *
 * The event loop over libuv: see loop.h.
 */
#include "server/loop.h"

#include <assert.h>
#include <signal.h>
#include <uv.h>

#include "base/clock.h"
#include "base/memory.h"

struct enso_loop {
    uv_loop_t uv;
};

struct enso_timer {
    uv_timer_t handle;
    enso_loop_fn fn;
    void *user;
};

struct enso_wakeup {
    uv_async_t handle;
    enso_loop_fn fn;
    void *user;
};

struct enso_signal {
    uv_signal_t handle;
    enso_loop_fn fn;
    void *user;
};

static void free_handle(uv_handle_t *handle)
{
    enso_free(handle->data);
}

struct enso_loop *enso_loop_create(struct enso_error *err)
{
    struct enso_loop *loop = enso_alloc_zero(1, sizeof *loop);
    int rc;

    if (loop == NULL) {
        (void)enso_error_no_memory(err, "the event loop"); /* NULL says it */
        return NULL;
    }
    (void)signal(SIGPIPE, SIG_IGN); /* cannot fail for a valid signal */
    rc = uv_loop_init(&loop->uv);
    if (rc != 0) {
        (void)enso_error_set(err, ENSO_IO, "the event loop cannot start: %s", uv_strerror(rc));
        enso_free(loop);
        return NULL;
    }
    return loop;
}

void enso_loop_destroy(struct enso_loop *loop)
{
    int rc;

    if (loop == NULL)
        return;
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT); /* only closing handles are left: ends by itself */
    rc = uv_loop_close(&loop->uv);
    assert(rc == 0); /* somebody's handle is still open */
    (void)rc;
    enso_free(loop);
}

void enso_loop_run(struct enso_loop *loop)
{
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT); /* tells only whether handles are left */
}

bool enso_loop_run_once(struct enso_loop *loop)
{
    return uv_run(&loop->uv, UV_RUN_ONCE) != 0;
}

bool enso_loop_poll(struct enso_loop *loop)
{
    return uv_run(&loop->uv, UV_RUN_NOWAIT) != 0;
}

void enso_loop_stop(struct enso_loop *loop)
{
    uv_stop(&loop->uv);
}

uint64_t enso_loop_now_ns(const struct enso_loop *loop)
{
    return uv_now(&loop->uv) * ENSO_NS_PER_MS;
}

struct uv_loop_s *enso_loop_uv(struct enso_loop *loop)
{
    return &loop->uv;
}

static void on_timer(uv_timer_t *handle)
{
    struct enso_timer *timer = handle->data;

    timer->fn(timer->user);
}

struct enso_timer *enso_timer_create(struct enso_loop *loop, enso_loop_fn fn, void *user,
                                     struct enso_error *err)
{
    struct enso_timer *timer = enso_alloc_zero(1, sizeof *timer);

    if (timer == NULL) {
        (void)enso_error_no_memory(err, "a timer"); /* NULL says it */
        return NULL;
    }
    timer->fn = fn;
    timer->user = user;
    (void)uv_timer_init(&loop->uv, &timer->handle); /* always 0 */
    timer->handle.data = timer;
    return timer;
}

void enso_timer_start(struct enso_timer *timer, uint64_t delay_ms, uint64_t repeat_ms)
{
    (void)uv_timer_start(&timer->handle, on_timer, delay_ms, repeat_ms); /* fails only if closing */
}

void enso_timer_stop(struct enso_timer *timer)
{
    (void)uv_timer_stop(&timer->handle); /* always 0 */
}

bool enso_timer_is_running(const struct enso_timer *timer)
{
    return uv_is_active((const uv_handle_t *)&timer->handle) != 0;
}

void enso_timer_destroy(struct enso_timer *timer)
{
    if (timer != NULL)
        uv_close((uv_handle_t *)&timer->handle, free_handle);
}

static void on_wakeup(uv_async_t *handle)
{
    struct enso_wakeup *wakeup = handle->data;

    wakeup->fn(wakeup->user);
}

struct enso_wakeup *enso_wakeup_create(struct enso_loop *loop, enso_loop_fn fn, void *user,
                                       struct enso_error *err)
{
    struct enso_wakeup *wakeup = enso_alloc_zero(1, sizeof *wakeup);
    int rc;

    if (wakeup == NULL) {
        (void)enso_error_no_memory(err, "a wake-up"); /* NULL says it */
        return NULL;
    }
    wakeup->fn = fn;
    wakeup->user = user;
    rc = uv_async_init(&loop->uv, &wakeup->handle, on_wakeup);
    if (rc != 0) {
        (void)enso_error_set(err, ENSO_IO, "a wake-up cannot be made: %s", uv_strerror(rc));
        enso_free(wakeup);
        return NULL;
    }
    wakeup->handle.data = wakeup;
    return wakeup;
}

void enso_wakeup_send(struct enso_wakeup *wakeup)
{
    (void)uv_async_send(&wakeup->handle); /* fails only for a handle that is none */
}

void enso_wakeup_destroy(struct enso_wakeup *wakeup)
{
    if (wakeup != NULL)
        uv_close((uv_handle_t *)&wakeup->handle, free_handle);
}

static void on_signal(uv_signal_t *handle, int signal_number)
{
    struct enso_signal *watch = handle->data;

    (void)signal_number; /* each watch has its own */
    watch->fn(watch->user);
}

struct enso_signal *enso_signal_create(struct enso_loop *loop, int signal_number, enso_loop_fn fn,
                                       void *user, struct enso_error *err)
{
    struct enso_signal *watch = enso_alloc_zero(1, sizeof *watch);
    int rc;

    if (watch == NULL) {
        (void)enso_error_no_memory(err, "a signal watch"); /* NULL says it */
        return NULL;
    }
    watch->fn = fn;
    watch->user = user;
    rc = uv_signal_init(&loop->uv, &watch->handle);
    if (rc != 0) {
        (void)enso_error_set(err, ENSO_IO, "signals cannot be watched: %s", uv_strerror(rc));
        enso_free(watch);
        return NULL;
    }
    watch->handle.data = watch;
    rc = uv_signal_start(&watch->handle, on_signal, signal_number);
    if (rc != 0) {
        (void)enso_error_set(err, ENSO_IO, "signal %d cannot be watched: %s", signal_number,
                             uv_strerror(rc));
        enso_signal_destroy(watch);
        return NULL;
    }
    return watch;
}

void enso_signal_destroy(struct enso_signal *watch)
{
    if (watch != NULL)
        uv_close((uv_handle_t *)&watch->handle, free_handle);
}
