/* SPDX-License-Identifier: Apache-2.0
 *
 * Listening sockets: TCP ("127.0.0.1:8080", "[::1]:8080", "localhost:0"), Unix ("unix:/run/x.sock")
 * and those that systemd passes. A listener accepts by itself and hands each connected socket
 * (non-blocking, close-on-exec, TCP_NODELAY) to a callback, which takes it.
 *
 * When the process is out of descriptors, or the callback says that it is full, accepting pauses
 * for 100 ms: the kernel's queue holds what comes meanwhile, and nothing spins.
 *
 * A Unix socket that stands in the way is removed only if nobody answers there; at the end the
 * listener removes its own, unless somebody else has put one in its place.
 *
 * Threads: the loop's.
 */
#ifndef ENSO_SERVER_LISTENER_H
#define ENSO_SERVER_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/macros.h"

struct enso_listener;
struct enso_loop;

struct enso_listener_callbacks {
    /* Loop thread. Takes fd. False = no more for now: accepting pauses. */
    bool (*on_socket)(int fd, const struct sockaddr *peer, socklen_t peer_size, void *user);
    /* Loop thread, optional. Accepting failed and pauses: one sentence, at most one a second. */
    void (*on_trouble)(const char *sentence, void *user);
    void *user;
};

/* Opens, binds and listens; accepting begins with the loop. The error names the address, and the
 * remedy where it is known. */
enum enso_status enso_listener_create(struct enso_loop *loop, const char *address,
                                      const struct enso_listener_callbacks *callbacks,
                                      struct enso_listener **ret,
                                      struct enso_error *err) ENSO_MUST_CHECK;

/* The same for a socket that listens already; takes fd, also on failure. */
enum enso_status enso_listener_create_take(struct enso_loop *loop, int fd,
                                           const struct enso_listener_callbacks *callbacks,
                                           struct enso_listener **ret,
                                           struct enso_error *err) ENSO_MUST_CHECK;

/* Sockets that systemd passed (LISTEN_FDS): at most `capacity` into fds, the rest are closed. The
 * variables are removed from the environment. 0 without systemd. */
size_t enso_listener_inherited(int *fds, size_t capacity);

/* Hands over what the kernel has accepted already, then closes the socket: whoever was connected
 * before is served, whoever comes after is refused. Once; destroy does it if nobody did. */
void enso_listener_stop(struct enso_listener *listener);
void enso_listener_destroy(struct enso_listener *listener); /* NULL is fine */

/* Where it really listens: "127.0.0.1:43211", "[::1]:8080", "unix:/run/x.sock". Borrowed. */
const char *enso_listener_address(const struct enso_listener *listener);
uint16_t enso_listener_port(const struct enso_listener *listener);     /* 0 for Unix sockets */
bool enso_listener_is_local(const struct enso_listener *listener);     /* loopback or Unix */
uint64_t enso_listener_accepted(const struct enso_listener *listener); /* sockets handed over */

/* "ADDR:PORT" as above for any socket address, into text (at least 64 bytes are enough for TCP; a
 * Unix peer is "unix:"). Returns text. */
char *enso_socket_address_print(const struct sockaddr *address, socklen_t size, char *text,
                                size_t capacity);

#endif
