/* SPDX-License-Identifier: Apache-2.0
 *
 * The event loop: owns the uv_loop_t, its timers, wake-ups from other threads and signals. A thin
 * cover, so that code above need not know libuv's rule that a handle's memory lives until its close
 * callback: destroy here may be called at any time, also from the handle's own callback.
 *
 *     struct enso_loop *loop = enso_loop_create(&err);
 *     struct enso_timer *timer = enso_timer_create(loop, on_timer, data, &err);
 *     enso_timer_start(timer, 100, 0);
 *     enso_loop_run(loop);
 *     enso_timer_destroy(timer);
 *     enso_loop_destroy(loop);
 *
 * Threads: all of it belongs to the thread that runs the loop, except enso_wakeup_send, which any
 * thread may call. Creating a loop ignores SIGPIPE for the process: sockets report it as an error.
 */
#ifndef ENSO_SERVER_LOOP_H
#define ENSO_SERVER_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"

struct enso_loop;
struct enso_timer;
struct enso_wakeup;
struct enso_signal;
struct uv_loop_s;

struct enso_loop *enso_loop_create(struct enso_error *err) ENSO_MUST_CHECK;

/* Runs the loop until every handle that was destroyed is closed, then frees it. Everything made on
 * the loop must have been destroyed before. NULL is fine. */
void enso_loop_destroy(struct enso_loop *loop);

void enso_loop_run(struct enso_loop *loop); /* until enso_loop_stop */
bool enso_loop_run_once(
    struct enso_loop *loop); /* wait for events, handle them; false = nothing to wait for */
bool enso_loop_poll(struct enso_loop *loop); /* handle what is there, without waiting */
void enso_loop_stop(struct enso_loop *loop); /* enso_loop_run returns soon */

/* The loop's idea of now, refreshed once a turn: monotonic nanoseconds, in steps of 1 ms. */
uint64_t enso_loop_now_ns(const struct enso_loop *loop);
struct uv_loop_s *enso_loop_uv(struct enso_loop *loop); /* borrowed */

typedef void (*enso_loop_fn)(void *user);

/* A timer, stopped at first. start(0 repeat) fires once. start on a running timer sets it anew. */
struct enso_timer *enso_timer_create(struct enso_loop *loop, enso_loop_fn fn, void *user,
                                     struct enso_error *err) ENSO_MUST_CHECK;
void enso_timer_start(struct enso_timer *timer, uint64_t delay_ms, uint64_t repeat_ms);
void enso_timer_stop(struct enso_timer *timer);
bool enso_timer_is_running(const struct enso_timer *timer);
void enso_timer_destroy(struct enso_timer *timer); /* NULL is fine */

/* A bell other threads may ring: fn runs on the loop, once for any number of rings before it. */
struct enso_wakeup *enso_wakeup_create(struct enso_loop *loop, enso_loop_fn fn, void *user,
                                       struct enso_error *err) ENSO_MUST_CHECK;
void enso_wakeup_send(struct enso_wakeup *wakeup);    /* from any thread, never after destroy */
void enso_wakeup_destroy(struct enso_wakeup *wakeup); /* NULL is fine */

/* fn(user) on the loop each time the signal arrives. */
struct enso_signal *enso_signal_create(struct enso_loop *loop, int signal_number, enso_loop_fn fn,
                                       void *user, struct enso_error *err) ENSO_MUST_CHECK;
void enso_signal_destroy(struct enso_signal *signal); /* NULL is fine */

#endif
