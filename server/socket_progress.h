/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernel counts on a connected stream socket: whether bytes move, for the time limits of
 * slow clients. A file of its own because linux/tcp.h and netinet/tcp.h cannot be included
 * together.
 */
#ifndef ENSO_SERVER_SOCKET_PROGRESS_H
#define ENSO_SERVER_SOCKET_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes received, or acknowledged by the peer, since the connection began. TCP only: false for
 * other sockets. */
bool enso_socket_tcp_received(int fd, uint64_t *ret);
bool enso_socket_tcp_acknowledged(int fd, uint64_t *ret);

/* Bytes that lie in the socket: not yet read by us, not yet taken by the peer. 0 when unknown. */
uint64_t enso_socket_unread(int fd);
uint64_t enso_socket_unsent(int fd);

#endif
