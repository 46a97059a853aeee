/* SPDX-License-Identifier: Apache-2.0
 *
 * Listening sockets: see listener.h.
 */
#include "ensod_build.h"

#include "server/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <uv.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "base/clock.h"
#include "base/memory.h"
#include "server/loop.h"

#define PAUSE_MS 100
#define MOST_AT_ONCE 64 /* accepted in one turn of the loop, so that requests get theirs */

union address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
    struct sockaddr_storage storage;
};

struct enso_listener {
    uv_poll_t watch;
    struct enso_loop *loop;
    struct enso_timer *pause;
    struct enso_listener_callbacks callbacks;
    int fd; /* -1 once stopped */
    sa_family_t family;
    uint16_t port;
    bool local;
    bool closed;    /* the watch's close callback has run */
    bool destroyed; /* free when closed */
    uint64_t n_accepted;
    uint64_t last_trouble_ns;
    char *unlink_path; /* Unix socket that we made, or NULL */
    dev_t unlink_device;
    ino_t unlink_inode;
    char text[sizeof(struct sockaddr_un) + 8];
};

char *enso_socket_address_print(const struct sockaddr *address, socklen_t size, char *text,
                                size_t capacity)
{
    const union address *a = (const void *)address;
    char host[INET6_ADDRSTRLEN] = "?";

    if (size >= sizeof a->in && address->sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &a->in.sin_addr, host, sizeof host); /* large enough */
        (void)snprintf(text, capacity, "%s:%u", host, (unsigned)ntohs(a->in.sin_port));
    } else if (size >= sizeof a->in6 && address->sa_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof host); /* large enough */
        (void)snprintf(text, capacity, "[%s]:%u", host, (unsigned)ntohs(a->in6.sin6_port));
    } else if (size > offsetof(struct sockaddr_un, sun_path) && address->sa_family == AF_UNIX) {
        size_t length = size - offsetof(struct sockaddr_un, sun_path);

        (void)snprintf(text, capacity, "unix:%.*s", (int)strnlen(a->un.sun_path, length),
                       a->un.sun_path);
    } else {
        (void)snprintf(text, capacity, "unix:"); /* a peer without a name */
    }
    return text;
}

static bool is_loopback(const union address *a)
{
    if (a->any.sa_family == AF_INET)
        return (ntohl(a->in.sin_addr.s_addr) >> 24) == 127;
    if (a->any.sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
    return a->any.sa_family == AF_UNIX;
}

/* Accepting -------------------------------------------------------------------------------- */

static void on_readable(uv_poll_t *watch, int status, int events);

static void resume_accepting(void *user)
{
    struct enso_listener *listener = user;

    if (listener->fd >= 0)
        (void)uv_poll_start(&listener->watch, UV_READABLE, on_readable); /* a valid descriptor */
}

static void pause_accepting(struct enso_listener *listener)
{
    (void)uv_poll_stop(&listener->watch); /* always 0 */
    enso_timer_start(listener->pause, PAUSE_MS, 0);
}

static void tell_trouble(struct enso_listener *listener, int error)
{
    uint64_t now_ns = enso_clock_now_ns();
    char sentence[256];

    if (listener->callbacks.on_trouble == NULL ||
        (listener->last_trouble_ns != 0 && now_ns - listener->last_trouble_ns < ENSO_NS_PER_S))
        return;
    listener->last_trouble_ns = now_ns;
    (void)snprintf(sentence, sizeof sentence, "accepting on %.100s pauses for %d ms: %s; %s",
                   listener->text, PAUSE_MS, strerror(error),
                   error == EMFILE || error == ENFILE
                       ? "raise the limit of open files (LimitNOFILE=, ulimit -n)"
                       : "clients wait in the kernel's queue meanwhile");
    listener->callbacks.on_trouble(sentence, listener->callbacks.user);
}

/* Errors of one connection that died in the queue: the next may be fine (accept(2)). */
static bool is_passing(int error)
{
    return error == EINTR || error == ECONNABORTED || error == EPROTO || error == ENETDOWN ||
           error == ENOPROTOOPT || error == EHOSTDOWN || error == ENONET || error == EHOSTUNREACH ||
           error == EOPNOTSUPP || error == ENETUNREACH || error == EPERM; /* a firewall's rule */
}

/* Accept up to `most`; false when accepting must pause. */
static bool accept_some(struct enso_listener *listener, size_t most)
{
    for (size_t i = 0; i < most; i++) {
        union address peer;
        socklen_t size = sizeof peer;
        int on = 1, fd;

        fd = accept4(listener->fd, &peer.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK)
                return true;
            if (is_passing(errno))
                continue;
            tell_trouble(listener, errno);
            return false;
        }
        if (listener->family != AF_UNIX) /* small answers leave at once; failing does no harm */
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        listener->n_accepted++;
        if (!listener->callbacks.on_socket(fd, &peer.any, size, listener->callbacks.user))
            return false;
        if (listener->fd < 0) /* stopped by the callback */
            return true;
    }
    return true;
}

static void on_readable(uv_poll_t *watch, int status, int events)
{
    struct enso_listener *listener = watch->data;

    (void)events; /* only readable was asked for */
    if (status < 0 || !accept_some(listener, MOST_AT_ONCE)) {
        if (listener->fd >= 0)
            pause_accepting(listener);
    }
}

/* Opening ---------------------------------------------------------------------------------- */

static enum enso_status bind_error(const char *address, int error, struct enso_error *err)
{
    const char *remedy = "check the address";

    if (error == EADDRINUSE)
        return enso_error_set(err, ENSO_IO,
                              "cannot listen on %s: the port is in use by another "
                              "program; stop that one, or choose another port with "
                              "--listen ADDR:PORT (port 0 takes a free one)",
                              address);
    if (error == EACCES)
        remedy = "ports below 1024 need the capability CAP_NET_BIND_SERVICE; choose a higher port";
    else if (error == EADDRNOTAVAIL)
        remedy = "this machine has no such address; 0.0.0.0 listens on all";
    return enso_error_set(err, ENSO_IO, "cannot listen on %s: %s; %s", address, strerror(error),
                          remedy);
}

static enum enso_status not_an_address(const char *address, struct enso_error *err)
{
    return enso_error_set(err, ENSO_INVALID,
                          "'%.200s' is not an address to listen on; write "
                          "ADDR:PORT (127.0.0.1:8080, [::1]:8080) or unix:PATH",
                          address);
}

/* Split "ADDR:PORT" into host (without brackets) and port. */
static bool split_address(const char *address, char *host, size_t capacity, uint16_t *ret_port)
{
    const char *colon = strrchr(address, ':'), *begin = address, *end = colon;
    unsigned long port = 0;

    if (colon == NULL || colon[1] == '\0' || strlen(colon + 1) > 5)
        return false;
    for (const char *p = colon + 1; *p != '\0'; p++) {
        if (*p < '0' || *p > '9')
            return false;
        port = port * 10 + (unsigned long)(*p - '0');
    }
    if (port > 65535)
        return false;
    if (*begin == '[') {
        if (end == begin || end[-1] != ']')
            return false;
        begin++;
        end--;
    } else if (memchr(begin, ':', (size_t)(end - begin)) != NULL) {
        return false; /* an IPv6 address without brackets is ambiguous */
    }
    if (end <= begin || (size_t)(end - begin) >= capacity)
        return false;
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    *ret_port = (uint16_t)port;
    return true;
}

static enum enso_status resolve(const char *address, union address *ret, socklen_t *ret_size,
                                struct enso_error *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list, *best;
    char host[256];
    uint16_t port;
    int rc;

    if (!split_address(address, host, sizeof host, &port))
        return not_an_address(address, err);
    rc = getaddrinfo(host, NULL, &hints, &list);
    if (rc != 0)
        return enso_error_set(err, ENSO_NOT_FOUND,
                              "cannot listen on %.200s: '%.100s' is not an "
                              "address of this machine (%s); write it as 127.0.0.1, 0.0.0.0 or "
                              "[::1]",
                              address, host, gai_strerror(rc));
    best = list;
    for (struct addrinfo *a = list; a != NULL; a = a->ai_next)
        if (a->ai_family == AF_INET) { /* "localhost" means 127.0.0.1 to most clients */
            best = a;
            break;
        }
    memcpy(ret, best->ai_addr, ENSO_MIN((size_t)best->ai_addrlen, sizeof *ret));
    *ret_size = best->ai_addrlen;
    freeaddrinfo(list);
    if (ret->any.sa_family == AF_INET)
        ret->in.sin_port = htons(port);
    else
        ret->in6.sin6_port = htons(port);
    return ENSO_OK;
}

/* Make room at a Unix path: a socket nobody answers at is stale and removed. */
static enum enso_status clear_unix_path(const union address *a, socklen_t size,
                                        struct enso_error *err)
{
    const char *path = a->un.sun_path;
    struct stat st;
    int fd, rc, error;

    if (lstat(path, &st) != 0)
        return ENSO_OK; /* nothing there, or bind will say what is wrong */
    if (!S_ISSOCK(st.st_mode))
        return enso_error_set(err, ENSO_IO,
                              "cannot listen on unix:%s: a file that is no socket "
                              "is there; remove it or choose another path",
                              path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return enso_error_set(err, ENSO_IO, "cannot open a Unix socket: %s", strerror(errno));
    rc = connect(fd, &a->any, size);
    error = errno;
    (void)close(fd); /* nothing was written */
    if (rc == 0 || error == EAGAIN)
        return enso_error_set(err, ENSO_IO,
                              "cannot listen on unix:%s: another program answers "
                              "there; stop it or choose another path",
                              path);
    if (error != ECONNREFUSED)
        return enso_error_set(err, ENSO_IO,
                              "cannot listen on unix:%s: %s; remove it or choose "
                              "another path",
                              path, strerror(error));
    if (unlink(path) != 0 && errno != ENOENT)
        return enso_error_set(err, ENSO_IO, "cannot remove the stale socket unix:%s: %s", path,
                              strerror(errno));
    return ENSO_OK;
}

static enum enso_status unix_address(const char *path, union address *ret, socklen_t *ret_size,
                                     struct enso_error *err)
{
    size_t length = strlen(path);

    if (length == 0 || length >= sizeof ret->un.sun_path)
        return enso_error_set(err, ENSO_INVALID,
                              "the path of a Unix socket has 1 to %zu bytes, "
                              "'%.120s' has %zu; choose a shorter one",
                              sizeof ret->un.sun_path - 1, path, length);
    memset(ret, 0, sizeof *ret);
    ret->un.sun_family = AF_UNIX;
    memcpy(ret->un.sun_path, path, length + 1);
    *ret_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    return ENSO_OK;
}

static enum enso_status open_socket(const char *address, const union address *a, socklen_t size,
                                    int *ret, struct enso_error *err)
{
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, error;

    if (fd < 0)
        return enso_error_set(err, ENSO_IO, "cannot open a socket for %s: %s", address,
                              strerror(errno));
    if (a->any.sa_family != AF_UNIX) /* come back at once after a restart; failing does no harm */
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, &a->any, size) != 0 || listen(fd, SOMAXCONN) != 0) {
        error = errno;
        (void)close(fd); /* nothing was written */
        return bind_error(address, error, err);
    }
    *ret = fd;
    return ENSO_OK;
}

static void free_listener(struct enso_listener *listener)
{
    enso_free(listener->unlink_path);
    enso_free(listener);
}

static void on_closed(uv_handle_t *handle)
{
    struct enso_listener *listener = handle->data;

    listener->closed = true;
    if (listener->destroyed)
        free_listener(listener);
}

static enum enso_status describe(struct enso_listener *listener, struct enso_error *err)
{
    union address bound;
    socklen_t size = sizeof bound;
    int listening = 0;
    socklen_t listening_size = sizeof listening;

    memset(&bound, 0, sizeof bound);
    if (getsockname(listener->fd, &bound.any, &size) != 0 ||
        getsockopt(listener->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &listening_size) != 0)
        return enso_error_set(err, ENSO_IO, "descriptor %d is no socket: %s", listener->fd,
                              strerror(errno));
    if (!listening)
        return enso_error_set(err, ENSO_INVALID,
                              "descriptor %d is a socket that does not listen; "
                              "in the socket unit use ListenStream=",
                              listener->fd);
    listener->family = bound.any.sa_family;
    listener->local = is_loopback(&bound);
    if (listener->family == AF_INET)
        listener->port = ntohs(bound.in.sin_port);
    else if (listener->family == AF_INET6)
        listener->port = ntohs(bound.in6.sin6_port);
    (void)enso_socket_address_print(&bound.any, size, listener->text, sizeof listener->text);
    return ENSO_OK;
}

enum enso_status enso_listener_create_take(struct enso_loop *loop, int fd,
                                           const struct enso_listener_callbacks *callbacks,
                                           struct enso_listener **ret, struct enso_error *err)
{
    struct enso_listener *listener = enso_alloc_zero(1, sizeof *listener);
    int flags = fcntl(fd, F_GETFL);
    enum enso_status st = ENSO_OK;

    if (listener == NULL) {
        (void)close(fd); /* nothing was written */
        return enso_error_no_memory(err, "a listener");
    }
    listener->fd = fd;
    listener->loop = loop;
    listener->callbacks = *callbacks;
    st = describe(listener, err);
    if (st == ENSO_OK && (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
                          fcntl(fd, F_SETFD, FD_CLOEXEC) < 0))
        st = enso_error_set(err, ENSO_IO, "cannot prepare the socket %s: %s", listener->text,
                            strerror(errno));
    if (st == ENSO_OK) {
        listener->pause = enso_timer_create(loop, resume_accepting, listener, err);
        if (listener->pause == NULL)
            st = ENSO_NO_MEMORY;
    }
    if (st == ENSO_OK && uv_poll_init(enso_loop_uv(loop), &listener->watch, fd) != 0)
        st = enso_error_set(err, ENSO_IO, "the loop cannot watch the socket %s", listener->text);
    if (st != ENSO_OK) {
        enso_timer_destroy(listener->pause);
        (void)close(fd); /* nothing was written */
        enso_free(listener);
        return st;
    }
    listener->watch.data = listener;
    resume_accepting(listener);
    *ret = listener;
    return ENSO_OK;
}

/* Remember the socket file that we made, so that only it is removed at the end. */
static enum enso_status own_unix_path(struct enso_listener *listener, const char *path,
                                      struct enso_error *err)
{
    struct stat st;

    if (lstat(path, &st) != 0)
        return ENSO_OK; /* gone already: nothing to remove */
    listener->unlink_path = enso_strdup(path);
    if (listener->unlink_path == NULL) {
        (void)unlink(path); /* ours, made a moment ago */
        return enso_error_no_memory(err, "a listener");
    }
    listener->unlink_device = st.st_dev;
    listener->unlink_inode = st.st_ino;
    return ENSO_OK;
}

enum enso_status enso_listener_create(struct enso_loop *loop, const char *address,
                                      const struct enso_listener_callbacks *callbacks,
                                      struct enso_listener **ret, struct enso_error *err)
{
    bool is_unix = strncmp(address, "unix:", 5) == 0;
    struct enso_listener *listener;
    union address a;
    socklen_t size = 0;
    enum enso_status st;
    int fd = -1;

    memset(&a, 0, sizeof a);
    if (is_unix) {
        st = unix_address(address + 5, &a, &size, err);
        if (st == ENSO_OK)
            st = clear_unix_path(&a, size, err);
    } else {
        st = resolve(address, &a, &size, err);
    }
    if (st == ENSO_OK)
        st = open_socket(address, &a, size, &fd, err);
    if (st == ENSO_OK) {
        st = enso_listener_create_take(loop, fd, callbacks, &listener, err);
        if (st != ENSO_OK && is_unix)
            (void)unlink(address + 5); /* ours, made a moment ago */
    }
    if (st != ENSO_OK)
        return st;
    if (is_unix) {
        st = own_unix_path(listener, address + 5, err);
        if (st != ENSO_OK) {
            enso_listener_destroy(listener);
            return st;
        }
    }
    *ret = listener;
    return ENSO_OK;
}

size_t enso_listener_inherited(int *fds, size_t capacity)
{
#ifdef HAVE_SYSTEMD
    int n = sd_listen_fds(1); /* 1: children of ours shall not see the variables */
    size_t kept = 0;

    for (int i = 0; i < n; i++) {
        int fd = SD_LISTEN_FDS_START + i;

        if (kept < capacity)
            fds[kept++] = fd;
        else
            (void)close(fd); /* more than we were told to take */
    }
    return kept;
#else
    (void)fds;
    (void)capacity;
    return 0;
#endif
}

void enso_listener_stop(struct enso_listener *listener)
{
    struct stat st;

    if (listener->fd < 0)
        return;
    (void)accept_some(listener, SIZE_MAX); /* whoever was connected before is served */
    (void)uv_poll_stop(&listener->watch);  /* always 0 */
    enso_timer_stop(listener->pause);
    if (listener->unlink_path != NULL && lstat(listener->unlink_path, &st) == 0 &&
        st.st_dev == listener->unlink_device && st.st_ino == listener->unlink_inode)
        (void)unlink(listener->unlink_path); /* a file left behind is found stale next time */
    uv_close((uv_handle_t *)&listener->watch, on_closed);
    (void)close(listener->fd); /* nothing was written */
    listener->fd = -1;
}

void enso_listener_destroy(struct enso_listener *listener)
{
    if (listener == NULL)
        return;
    enso_listener_stop(listener);
    enso_timer_destroy(listener->pause);
    listener->destroyed = true;
    if (listener->closed)
        free_listener(listener);
}

const char *enso_listener_address(const struct enso_listener *listener)
{
    return listener->text;
}

uint16_t enso_listener_port(const struct enso_listener *listener)
{
    return listener->port;
}

bool enso_listener_is_local(const struct enso_listener *listener)
{
    return listener->local;
}

uint64_t enso_listener_accepted(const struct enso_listener *listener)
{
    return listener->n_accepted;
}
