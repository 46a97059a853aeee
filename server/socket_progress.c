/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernel counts on a socket: see socket_progress.h.
 */
#include "server/socket_progress.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* An old kernel fills less of the struct: `end` is how much is needed. */
static bool read_info(int fd, struct tcp_info *info, size_t end)
{
    socklen_t size = sizeof *info;

    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &size) == 0 && size >= end;
}

bool enso_socket_tcp_received(int fd, uint64_t *ret)
{
    struct tcp_info info;

    if (!read_info(fd, &info, offsetof(struct tcp_info, tcpi_segs_out)))
        return false;
    *ret = info.tcpi_bytes_received;
    return true;
}

bool enso_socket_tcp_acknowledged(int fd, uint64_t *ret)
{
    struct tcp_info info;

    if (!read_info(fd, &info, offsetof(struct tcp_info, tcpi_bytes_received)))
        return false;
    *ret = info.tcpi_bytes_acked;
    return true;
}

uint64_t enso_socket_unread(int fd)
{
    int n = 0;

    return ioctl(fd, SIOCINQ, &n) == 0 && n > 0 ? (uint64_t)n : 0;
}

uint64_t enso_socket_unsent(int fd)
{
    int n = 0;

    return ioctl(fd, SIOCOUTQ, &n) == 0 && n > 0 ? (uint64_t)n : 0;
}
