/* SPDX-License-Identifier: Apache-2.0
 *
 * The log: see log.h.
 *
 * Built for 60,000 access lines a second from one thread and a handful from others. Records (a
 * header of 8 bytes and the line, rounded up to 8) lie in a byte ring of 1 MiB: about 80 ms of such
 * a load. Producers copy under `mutex` and wake the writer only when it sleeps; after each drain
 * the writer naps for a few milliseconds instead of sleeping, so that a busy daemon pays no wake-up
 * per line, and then sleeps until it is woken, so that an idle one pays nothing.
 *
 * Lock rule: `state.mutex` guards everything in `state` but the atomics. The writer copies runs of
 * records out of the ring, gives the space back and writes without the mutex. It never blocks for
 * long: it polls before each write of at most PIPE_BUF bytes to what is not a regular file.
 */
#include "ensod_build.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/number.h"
#include "base/utf8.h"

#define RING_BYTES ((size_t)1 << 20) /* a power of two */
#define SCRATCH_BYTES ((size_t)64 << 10)
#define NAP_MS 5
#define DIRECT_WAIT_MS 100
#define STOP_WAIT_MS 2000

enum destination { TO_MESSAGES = 0, TO_ACCESS = 1 };

struct record {
    uint32_t size; /* of the text that follows */
    uint32_t destination;
};

enum writer { WRITER_NONE, WRITER_BUSY, WRITER_NAPPING, WRITER_SLEEPING };

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t wake;    /* to the writer: lines, stop */
    pthread_cond_t drained; /* from the writer: `written` has moved */
    pthread_t thread;
    enum writer writer;
    bool stopping;
    char *ring;
    uint64_t head, tail; /* bytes put in and taken out, ever */
    uint64_t written;    /* bytes whose records are on their descriptors */
    uint64_t unreported; /* dropped since the last report */
    uint64_t give_up_ns; /* stopping: no waiting beyond this */
    int access_fd;       /* owned unless it is the messages' own; -1 = off */
    bool access_is_messages;
    char *access_path; /* NULL unless a file */
    int old_access_fd; /* to be closed by the writer, or -1 */
} state = {
    .mutex = PTHREAD_MUTEX_INITIALIZER,
    .wake = PTHREAD_COND_INITIALIZER,
    .drained = PTHREAD_COND_INITIALIZER,
    .access_fd = -1,
    .old_access_fd = -1,
};

static atomic_int current_level = ENSO_LOG_INFO;
static atomic_int message_fd = STDERR_FILENO;
static atomic_int journal = -1; /* -1: not looked yet */
static atomic_int access_state; /* 0 off, 1 a file, 2 standard error */
static atomic_uint_fast64_t n_dropped;

/* ------------------------------------------------------------------ levels and surroundings */

static const char *const level_names[] = {
    [ENSO_LOG_ERROR] = "error", [ENSO_LOG_WARNING] = "warning", [ENSO_LOG_NOTICE] = "notice",
    [ENSO_LOG_INFO] = "info",   [ENSO_LOG_DEBUG] = "debug",
};

void enso_log_set_level(enum enso_log_level level)
{
    atomic_store(&current_level, (int)level);
}

enum enso_log_level enso_log_get_level(void)
{
    return (enum enso_log_level)atomic_load_explicit(&current_level, memory_order_relaxed);
}

bool enso_log_enabled(enum enso_log_level level)
{
    return (int)level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

const char *enso_log_level_name(enum enso_log_level level)
{
    return level >= ENSO_LOG_ERROR && level <= ENSO_LOG_DEBUG ? level_names[level] : "unknown";
}

bool enso_log_level_parse(const char *name, enum enso_log_level *ret)
{
    for (int i = ENSO_LOG_ERROR; i <= ENSO_LOG_DEBUG; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *ret = (enum enso_log_level)i;
            return true;
        }
    }
    return false;
}

/* systemd sets JOURNAL_STREAM to "device:inode" of the stream it gave us. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;

    return stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(atomic_load(&message_fd), &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

static bool is_journal(void)
{
    int known = atomic_load_explicit(&journal, memory_order_relaxed);

    if (known < 0) {
        known = stderr_is_journal(); /* two threads may look: they find the same */
        atomic_store_explicit(&journal, known, memory_order_relaxed);
    }
    return known != 0;
}

void enso_log_set_journal(bool on)
{
    atomic_store(&journal, on ? 1 : 0);
}

void enso_log_set_fd(int fd)
{
    atomic_store(&message_fd, fd >= 0 ? fd : STDERR_FILENO);
    atomic_store(&journal, -1);
}

uint64_t enso_log_dropped(void)
{
    return atomic_load_explicit(&n_dropped, memory_order_relaxed);
}

/* ------------------------------------------------------------------ lines */

/* Characters that may stand bare in a logfmt value. */
static bool is_bare(unsigned char c)
{
    return c > ' ' && c != '"' && c != '=' && c != '\\' && c < 0x7F;
}

/* Characters that could confuse a reader of the line on a terminal: C1 controls, line and paragraph
 * separators, direction overrides. */
static bool is_hostile(uint32_t c)
{
    return (c >= 0x7F && c < 0xA0) || (c >= 0x200B && c <= 0x200F) ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF;
}

static void put(struct enso_log_line *line, const char *bytes, size_t size)
{
    if (line->cut || size > ENSO_LOG_LINE_MAX - line->size) {
        line->cut = true;
        return;
    }
    memcpy(line->text + line->size, bytes, size);
    line->size += size;
}

static void put_quoted(struct enso_log_line *line, const char *value, size_t size)
{
    size_t i = 0;

    put(line, "\"", 1);
    while (i < size && !line->cut) {
        unsigned char c = (unsigned char)value[i];
        char text[12];
        uint32_t code;
        size_t n;

        if (c >= ' ' && c != '"' && c != '\\' && c < 0x7F) {
            put(line, value + i++, 1);
            continue;
        }
        n = enso_utf8_decode(value + i, size - i, &code);
        if (n == 0) {
            put(line, "\\ufffd", 6);
            i++;
            continue;
        }
        if (c == '"' || c == '\\')
            put(line, c == '"' ? "\\\"" : "\\\\", 2);
        else if (c == '\n' || c == '\r' || c == '\t')
            put(line, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t", 2);
        else if (c < ' ' || is_hostile(code))
            put(line, text, (size_t)snprintf(text, sizeof text, "\\u%04x", (unsigned)code));
        else
            put(line, value + i, n);
        i += n;
    }
    put(line, "\"", 1);
}

static void put_value(struct enso_log_line *line, const char *value, size_t size)
{
    size_t i = 0;

    while (i < size && is_bare((unsigned char)value[i]))
        i++;
    if (i == size && size != 0)
        put(line, value, size);
    else
        put_quoted(line, value, size);
}

/* Fields are whole or absent: `start` is where the field began. */
static void close_field(struct enso_log_line *line, size_t start)
{
    if (line->cut)
        line->size = start;
}

static void put_key(struct enso_log_line *line, const char *key)
{
    put(line, " ", 1);
    put(line, key, strlen(key));
    put(line, "=", 1);
}

/* "2026-03-01T09:30:00.125Z"; all but the milliseconds is kept per thread for a second. */
static void put_timestamp(struct enso_log_line *line)
{
    static _Thread_local struct {
        time_t second;
        char text[32];
    } cache = {.second = -1};
    struct timespec now;
    char ms[8];

    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail on Linux */
    if (now.tv_sec != cache.second) {
        struct tm tm;

        if (gmtime_r(&now.tv_sec, &tm) == NULL ||
            strftime(cache.text, sizeof cache.text, "ts=%Y-%m-%dT%H:%M:%S.", &tm) == 0)
            return;
        cache.second = now.tv_sec;
    }

    int n = (int)(now.tv_nsec / 1000000);

    ms[0] = (char)('0' + n / 100);
    ms[1] = (char)('0' + n / 10 % 10);
    ms[2] = (char)('0' + n % 10);
    ms[3] = 'Z';
    put(line, cache.text, strlen(cache.text));
    put(line, ms, 4);
}

static void reset(struct enso_log_line *line, bool access)
{
    line->size = 0;
    line->cut = false;
    line->access = access;
}

bool enso_log_line_begin(struct enso_log_line *line, enum enso_log_level level, const char *event)
{
    if (!enso_log_enabled(level))
        return false;
    reset(line, false);
    if (is_journal()) {
        char priority[] = {'<', (char)('0' + (int)level), '>'};

        put(line, priority, sizeof priority);
    } else {
        put_timestamp(line);
        put(line, " level=", 7);
        put(line, enso_log_level_name(level), strlen(enso_log_level_name(level)));
        put(line, " ", 1);
    }
    put(line, "msg=", 4);
    put_value(line, event, strlen(event));
    return true;
}

bool enso_log_access_begin(struct enso_log_line *line)
{
    int kind = atomic_load_explicit(&access_state, memory_order_relaxed);

    if (kind == 0)
        return false;
    reset(line, true);
    if (kind == 2 && is_journal()) {
        put(line, "<6>msg=request", 14);
        return true;
    }
    put_timestamp(line);
    if (kind == 2) /* among other messages: say what this one is */
        put(line, " level=info msg=request", 23);
    return true;
}

void enso_log_line_bytes(struct enso_log_line *line, const char *key, const char *value,
                         size_t size)
{
    size_t start = line->size;

    put_key(line, key);
    put_value(line, value, size);
    close_field(line, start);
}

void enso_log_line_string(struct enso_log_line *line, const char *key, const char *value)
{
    if (value == NULL)
        value = "-";
    enso_log_line_bytes(line, key, value, strlen(value));
}

/* A value that needs no quotes. */
static void put_field(struct enso_log_line *line, const char *key, const char *value, size_t size)
{
    size_t start = line->size;

    put_key(line, key);
    put(line, value, size);
    close_field(line, start);
}

void enso_log_line_int(struct enso_log_line *line, const char *key, int64_t value)
{
    char text[24];

    put_field(line, key, text, enso_number_write_i64(value, text));
}

void enso_log_line_uint(struct enso_log_line *line, const char *key, uint64_t value)
{
    char text[24];

    put_field(line, key, text, enso_number_write_u64(value, text));
}

void enso_log_line_bool(struct enso_log_line *line, const char *key, bool value)
{
    put_field(line, key, value ? "true" : "false", value ? 4 : 5);
}

void enso_log_line_float(struct enso_log_line *line, const char *key, double value)
{
    char text[32];

    put_field(line, key, text, (size_t)snprintf(text, sizeof text, "%.6g", value));
}

void enso_log_line_ms(struct enso_log_line *line, const char *key, uint64_t ns)
{
    uint64_t us = ns / 1000 + (ns % 1000 >= 500);
    char text[32];
    size_t n = enso_number_write_u64(us / 1000, text);

    text[n++] = '.';
    text[n++] = (char)('0' + us % 1000 / 100);
    text[n++] = (char)('0' + us % 100 / 10);
    text[n++] = (char)('0' + us % 10);
    put_field(line, key, text, n);
}

/* ------------------------------------------------------------------ the printf form */

/* One conversion of `format`, which points behind its '%': the text is one value. Returns what
 * comes after it. Flags, width and precision are handed to snprintf with the length made "ll". */
static const char *put_conversion(struct enso_log_line *line, const char *format, va_list *args)
{
    char spec[32] = "%";
    char text[400]; /* %f of the largest double has 317 */
    size_t n = 1;
    int precision = -1, length = 0;

    for (; strchr("-+ #0123456789.*", *format) != NULL && *format != '\0'; format++) {
        if (*format == '*') { /* only as a precision: "%.*s" */
            precision = va_arg(*args, int);
            int w = snprintf(spec + n, 12, "%d", ENSO_MAX(precision, 0));
            n += (size_t)ENSO_MAX(w, 0);
        } else if (n < 12) {
            spec[n++] = *format;
        }
    }
    for (; *format == 'l' || *format == 'z' || *format == 'j' || *format == 't' || *format == 'h';
         format++)
        length += *format == 'h' ? 0 : 1;

    char conversion = *format;
    int w = 0;

    if (conversion == '\0')
        return format;
    if (strchr("diuxXoc", conversion) != NULL) {
        long long value;

        if (length != 0) /* long and long long have one size here, as size_t and the others */
            value = va_arg(*args, long long);
        else if (conversion == 'd' || conversion == 'i' || conversion == 'c')
            value = va_arg(*args, int);
        else
            value = (long long)va_arg(*args, unsigned);
        if (conversion == 'c') {
            char c = (char)value;

            put_value(line, &c, 1);
            return format + 1;
        }
        memcpy(spec + n, (char[]){'l', 'l', conversion, '\0'}, 4);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* built above from flags and digits */
        w = snprintf(text, sizeof text, spec, value);
    } else if (strchr("fFeEgG", conversion) != NULL) {
        memcpy(spec + n, (char[]){conversion, '\0'}, 2);
        w = snprintf(text, sizeof text, spec, va_arg(*args, double));
#pragma GCC diagnostic pop
    } else if (conversion == 'p') {
        w = snprintf(text, sizeof text, "%p", va_arg(*args, void *));
    } else if (conversion == 's') {
        const char *s = va_arg(*args, const char *);
        const char *point = memchr(spec, '.', n);

        if (s == NULL)
            s = "-";
        if (precision < 0 && point != NULL)
            precision = (int)strtol(point + 1, NULL, 10);
        put_value(line, s, precision >= 0 ? strnlen(s, (size_t)precision) : strlen(s));
        return format + 1;
    } else if (conversion == '%') {
        text[0] = '%';
        w = 1;
    }
    if (w > 0)
        put(line, text, ENSO_MIN((size_t)w, sizeof text - 1));
    return format + 1;
}

void enso_log(enum enso_log_level level, const char *event, const char *format, ...)
{
    struct enso_log_line line;
    size_t field;
    va_list args;

    if (!enso_log_enabled(level) || !enso_log_line_begin(&line, level, event))
        return;
    field = line.size;
    if (*format != '\0')
        put(&line, " ", 1);
    va_start(args, format);
    while (*format != '\0' && !line.cut) {
        if (*format == '%') {
            format = put_conversion(&line, format + 1, &args);
        } else {
            if (*format == ' ')
                field = line.size;
            put(&line, format++, 1);
        }
    }
    va_end(args);
    close_field(&line, field);
    enso_log_line_end(&line);
}

void enso_log_failure(enum enso_log_level level, const char *event, const struct enso_error *err)
{
    struct enso_log_line line;

    if (!enso_log_line_begin(&line, level, event))
        return;
    if (err != NULL) {
        enso_log_line_string(
            &line, "error", err->message[0] != '\0' ? err->message : enso_status_text(err->status));
        if (err->param[0] != '\0')
            enso_log_line_string(&line, "param", err->param);
    }
    enso_log_line_end(&line);
}

/* ------------------------------------------------------------------ writing */

static int ms_until(uint64_t deadline_ns)
{
    uint64_t now = enso_clock_now_ns();

    return now >= deadline_ns ? 0 : (int)ENSO_MIN((deadline_ns - now) / ENSO_NS_PER_MS + 1, 1000u);
}

static bool has_stopped_waiting(uint64_t deadline_ns)
{
    if (deadline_ns == UINT64_MAX) { /* the writer waits until the end is near */
        pthread_mutex_lock(&state.mutex);
        deadline_ns = state.stopping ? state.give_up_ns : UINT64_MAX;
        pthread_mutex_unlock(&state.mutex);
    }
    return enso_clock_now_ns() >= deadline_ns;
}

/* Write all of it; false when the descriptor refuses or the deadline (UINT64_MAX: the writer's) has
 * passed. At most PIPE_BUF at a time after a poll: such a write does not block on a pipe. */
static bool write_all(int fd, const char *data, size_t size, uint64_t deadline_ns)
{
    while (size != 0) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int wait_ms = deadline_ns == UINT64_MAX ? 100 : ms_until(deadline_ns);
        int ready = poll(&p, 1, wait_ms);

        if (ready == 0 || (ready < 0 && errno == EINTR)) {
            if (has_stopped_waiting(deadline_ns))
                return false;
            continue;
        }
        if (ready < 0 || (p.revents & (POLLERR | POLLNVAL)) != 0)
            return false;

        ssize_t n = write(fd, data, ENSO_MIN(size, (size_t)PIPE_BUF));

        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return false;
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        }
    }
    return true;
}

static void count_dropped(uint64_t n)
{
    atomic_fetch_add_explicit(&n_dropped, n, memory_order_relaxed);
}

/* Called with the mutex held. */
static int destination_fd(uint32_t destination)
{
    if (destination == TO_ACCESS && !state.access_is_messages)
        return state.access_fd;
    return atomic_load(&message_fd);
}

/* Space for a record of `size` bytes of text, wrapped around the ring's end by copying in parts. */
static void ring_copy_in(uint64_t at, const void *bytes, size_t size)
{
    size_t offset = (size_t)(at & (RING_BYTES - 1));
    size_t first = ENSO_MIN(size, RING_BYTES - offset);

    memcpy(state.ring + offset, bytes, first);
    memcpy(state.ring, (const char *)bytes + first, size - first);
}

static void ring_copy_out(uint64_t at, void *bytes, size_t size)
{
    size_t offset = (size_t)(at & (RING_BYTES - 1));
    size_t first = ENSO_MIN(size, RING_BYTES - offset);

    memcpy(bytes, state.ring + offset, first);
    memcpy((char *)bytes + first, state.ring, size - first);
}

static size_t record_bytes(size_t text_size)
{
    return (sizeof(struct record) + text_size + 7) & ~(size_t)7;
}

void enso_log_line_end(struct enso_log_line *line)
{
    struct record record = {.destination = line->access ? TO_ACCESS : TO_MESSAGES};

    if (line->cut) { /* text has 24 bytes beyond ENSO_LOG_LINE_MAX */
        memcpy(line->text + line->size, " cut=true", 9);
        line->size += 9;
    }
    line->text[line->size++] = '\n';
    record.size = (uint32_t)line->size;

    pthread_mutex_lock(&state.mutex);
    if (state.writer != WRITER_NONE) {
        bool fits = RING_BYTES - (state.head - state.tail) >= record_bytes(line->size);
        bool wake = state.writer == WRITER_SLEEPING;

        if (fits) {
            ring_copy_in(state.head, &record, sizeof record);
            ring_copy_in(state.head + sizeof record, line->text, line->size);
            state.head += record_bytes(line->size);
        } else {
            state.unreported++;
        }
        /* a nap ends early when the ring is half full */
        wake = wake || (state.writer == WRITER_NAPPING && state.head - state.tail > RING_BYTES / 2);
        if (wake)
            state.writer = WRITER_BUSY;
        pthread_mutex_unlock(&state.mutex);
        if (wake)
            pthread_cond_signal(&state.wake);
        if (!fits)
            count_dropped(1);
        return;
    }

    int fd = destination_fd(record.destination);

    pthread_mutex_unlock(&state.mutex);
    if (fd < 0 || !write_all(fd, line->text, line->size,
                             enso_clock_now_ns() + DIRECT_WAIT_MS * ENSO_NS_PER_MS))
        count_dropped(1);
}

/* Take records of one destination, as many as fit, into scratch. Called with the mutex held;
 * returns the bytes of text and sets how many lines they are. */
static size_t take(char *scratch, uint32_t *ret_destination, uint64_t *ret_lines)
{
    size_t size = 0;
    struct record record;

    *ret_lines = 0;
    while (state.tail != state.head) {
        ring_copy_out(state.tail, &record, sizeof record);
        if (size != 0 &&
            (record.destination != *ret_destination || record.size > SCRATCH_BYTES - size))
            break;
        ring_copy_out(state.tail + sizeof record, scratch + size, record.size);
        *ret_destination = record.destination;
        size += record.size;
        (*ret_lines)++;
        state.tail += record_bytes(record.size);
    }
    return size;
}

static void report_dropped(uint64_t n)
{
    struct enso_log_line line;

    if (!enso_log_line_begin(&line, ENSO_LOG_WARNING, "log lines dropped"))
        return;
    enso_log_line_uint(&line, "lines", n);
    line.text[line.size++] = '\n';
    if (!write_all(atomic_load(&message_fd), line.text, line.size, UINT64_MAX))
        count_dropped(1);
}

/* Sleep until there is something to do; called and left with the mutex held. */
static void wait_for_lines(bool *nap)
{
    if (*nap && state.head - state.tail <= RING_BYTES / 2) {
        struct timespec until;

        (void)clock_gettime(CLOCK_REALTIME, &until); /* what a default condition variable counts */
        until.tv_nsec += NAP_MS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000L;
        }
        state.writer = WRITER_NAPPING;
        while (state.writer == WRITER_NAPPING && !state.stopping) {
            if (pthread_cond_timedwait(&state.wake, &state.mutex, &until) == ETIMEDOUT)
                break;
        }
        *nap = false;
    }
    while (state.head == state.tail && !state.stopping && state.old_access_fd < 0) {
        state.writer = WRITER_SLEEPING;
        pthread_cond_wait(&state.wake, &state.mutex);
    }
    state.writer = WRITER_BUSY;
}

static void *writer_main(void *scratch)
{
    bool nap = false;

    pthread_mutex_lock(&state.mutex);
    for (;;) {
        uint32_t destination = TO_MESSAGES;
        uint64_t n_lines, unreported;

        if (state.head == state.tail || nap)
            wait_for_lines(&nap);
        if (state.head == state.tail && state.stopping && state.unreported == 0)
            break;

        size_t size = take(scratch, &destination, &n_lines);
        uint64_t upto = state.tail;
        int fd = destination_fd(destination);
        int old_fd = state.old_access_fd;
        bool empty = state.head == state.tail;

        state.old_access_fd = -1;
        unreported = state.unreported;
        state.unreported = 0;
        pthread_mutex_unlock(&state.mutex);
        if (old_fd >= 0)
            (void)close(old_fd); /* appended to only; nothing to learn */
        if (size != 0 && (fd < 0 || !write_all(fd, scratch, size, UINT64_MAX)))
            count_dropped(n_lines);
        if (unreported != 0)
            report_dropped(unreported);
        pthread_mutex_lock(&state.mutex);
        state.written = upto;
        pthread_cond_broadcast(&state.drained);
        nap = empty && !state.stopping;
    }
    pthread_mutex_unlock(&state.mutex);
    enso_free(scratch);
    return NULL;
}

/* ------------------------------------------------------------------ life */

enum enso_status enso_log_start(struct enso_error *err)
{
    enum enso_status st = ENSO_OK;
    char *scratch = enso_alloc(SCRATCH_BYTES);
    sigset_t all, old;
    int error;

    pthread_mutex_lock(&state.mutex);
    if (state.writer != WRITER_NONE)
        goto out;
    if (state.ring == NULL)
        state.ring = enso_alloc(RING_BYTES);
    if (state.ring == NULL || scratch == NULL) {
        st = enso_error_no_memory(err, "the log's ring");
        goto out;
    }
    state.head = state.tail = state.written = state.unreported = 0;
    state.stopping = false;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old); /* the writer takes no signals */
    error = pthread_create(&state.thread, NULL, writer_main, scratch);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error != 0) {
        st = enso_error_set(err, ENSO_IO, "cannot start the log writer: %s", strerror(error));
        goto out;
    }
    scratch = NULL; /* the writer's */
    state.writer = WRITER_BUSY;
out:
    pthread_mutex_unlock(&state.mutex);
    enso_free(scratch);
    return st;
}

void enso_log_stop(void)
{
    struct timespec until;
    bool joined;

    pthread_mutex_lock(&state.mutex);
    if (state.writer != WRITER_NONE) {
        state.stopping = true;
        state.give_up_ns = enso_clock_now_ns() + STOP_WAIT_MS * ENSO_NS_PER_MS;
        pthread_cond_signal(&state.wake);
        pthread_mutex_unlock(&state.mutex);
        (void)clock_gettime(CLOCK_REALTIME, &until); /* cannot fail on Linux */
        until.tv_sec += STOP_WAIT_MS / 1000 + 1;
        joined = pthread_timedjoin_np(state.thread, NULL, &until) == 0;
        pthread_mutex_lock(&state.mutex);
        if (joined) {
            enso_free(state.ring);
            state.ring = NULL;
            if (state.old_access_fd >= 0)
                (void)close(state.old_access_fd); /* appended to only; nothing to learn */
            state.old_access_fd = -1;
        } else { /* stuck in a write that another process blocked: leave it its memory */
            (void)pthread_detach(state.thread);
        }
        state.writer = WRITER_NONE;
    }
    if (state.access_fd >= 0)
        (void)close(state.access_fd); /* appended to only; nothing to learn */
    state.access_fd = -1;
    state.access_is_messages = false;
    atomic_store(&access_state, 0);
    enso_free(state.access_path);
    state.access_path = NULL;
    pthread_mutex_unlock(&state.mutex);
}

bool enso_log_flush(unsigned timeout_ms)
{
    struct timespec until;
    bool done;

    (void)clock_gettime(CLOCK_REALTIME, &until); /* what a default condition variable counts */
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&state.mutex);

    uint64_t target = state.head;

    if (state.writer == WRITER_NAPPING) {
        state.writer = WRITER_BUSY;
        pthread_cond_signal(&state.wake);
    }
    while (state.writer != WRITER_NONE && state.written < target) {
        if (pthread_cond_timedwait(&state.drained, &state.mutex, &until) == ETIMEDOUT)
            break;
    }
    done = state.writer == WRITER_NONE || state.written >= target;
    pthread_mutex_unlock(&state.mutex);
    return done;
}

/* Put a destination in place; the old file is closed by whoever writes. Called with the mutex
 * held. */
static void set_access(int fd, bool is_messages)
{
    int old = state.access_fd;

    state.access_fd = fd;
    state.access_is_messages = is_messages;
    atomic_store(&access_state, is_messages ? 2 : fd >= 0 ? 1 : 0);
    if (old < 0)
        return;
    if (state.writer == WRITER_NONE || state.old_access_fd >= 0) {
        /* the second reopen before the writer looked: it never saw `old` */
        (void)close(old); /* appended to only; nothing to learn */
        return;
    }
    state.old_access_fd = old;
    if (state.writer != WRITER_BUSY) {
        state.writer = WRITER_BUSY;
        pthread_cond_signal(&state.wake);
    }
}

static int open_access(const char *path, struct enso_error *err)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);

    if (fd < 0)
        (void)enso_error_set(err, ENSO_IO, "access log '%s' cannot be opened: %s", path,
                             strerror(errno)); /* the caller returns ENSO_IO */
    return fd;
}

enum enso_status enso_log_access_open(const char *destination, struct enso_error *err)
{
    bool off = strcmp(destination, "off") == 0, is_stderr = strcmp(destination, "stderr") == 0;
    char *path = NULL;
    int fd = -1;

    if (!off && !is_stderr) {
        path = enso_strdup(destination);
        if (path == NULL)
            return enso_error_no_memory(err, "the access log's path");
        fd = open_access(path, err);
        if (fd < 0) {
            enso_free(path);
            return ENSO_IO;
        }
    }
    pthread_mutex_lock(&state.mutex);
    enso_free(state.access_path);
    state.access_path = path;
    set_access(fd, is_stderr);
    pthread_mutex_unlock(&state.mutex);
    return ENSO_OK;
}

enum enso_status enso_log_access_reopen(struct enso_error *err)
{
    enum enso_status st = ENSO_OK;
    int fd;

    pthread_mutex_lock(&state.mutex);
    if (state.access_path != NULL) {
        fd = open_access(state.access_path, err);
        if (fd < 0)
            st = ENSO_IO;
        else
            set_access(fd, false);
    }
    pthread_mutex_unlock(&state.mutex);
    return st;
}
