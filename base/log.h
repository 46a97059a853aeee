/* SPDX-License-Identifier: Apache-2.0
 *
 * The log: one logfmt line per event, to standard error.
 *
 *     enso_log(ENSO_LOG_INFO, "model loaded", "model=%s bytes=%zu", name, size);
 *     -> ts=2026-03-01T09:30:00.125Z level=info msg="model loaded" model=intents bytes=17
 *
 * Values cannot break a line apart or forge fields: whatever %s gives is one logfmt value, quoted
 * and escaped where it holds blanks, quotes, controls or broken UTF-8. Lines over ENSO_LOG_LINE_MAX
 * bytes lose whole fields at their end and say cut=true.
 *
 * Under systemd (JOURNAL_STREAM names our standard error) a line starts with "<N>", the syslog
 * priority, and has no timestamp, since the journal keeps its own.
 *
 * Threads: every function may be called from any thread. After enso_log_start a line is formatted
 * on the caller's stack and copied into a ring of 1 MiB under a short mutex (well under 1 us); one
 * writer thread does the writing. A ring that is full drops lines and counts them, so that a
 * standard error nobody reads never stops the daemon; the number dropped is logged once there is
 * room again. Before start and after stop lines are written by the caller, who waits at most
 * 100 ms for room.
 *
 * The log is the process's: one, with no object to pass around. The daemon ignores SIGPIPE.
 * Never log inputs (texts, images, headers, keys).
 */
#ifndef ENSO_BASE_LOG_H
#define ENSO_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"

#define ENSO_LOG_LINE_MAX 2000

/* The numbers are syslog's. */
enum enso_log_level {
    ENSO_LOG_ERROR = 3,   /* something is lost or will not work */
    ENSO_LOG_WARNING = 4, /* works, but somebody should look */
    ENSO_LOG_NOTICE = 5,  /* start, stop, reload */
    ENSO_LOG_INFO = 6,    /* the default */
    ENSO_LOG_DEBUG = 7,
};

/* Lines above `level` are not written (default ENSO_LOG_INFO); may change while running. */
void enso_log_set_level(enum enso_log_level level);
enum enso_log_level enso_log_get_level(void);
bool enso_log_enabled(enum enso_log_level level);

/* "error", "warning", "notice", "info", "debug"; parse gives false for other names. */
const char *enso_log_level_name(enum enso_log_level level);
bool enso_log_level_parse(const char *name, enum enso_log_level *ret);

/* One event. `event` is what happened, in a few words; format holds "key=%conversion" fields with
 * blanks between, or is "" for none. Conversions: d i u x X o c p s f e g % with the usual flags,
 * width and lengths; %s takes NULL (written "-"). */
void enso_log(enum enso_log_level level, const char *event, const char *format, ...)
    ENSO_PRINTF(3, 4);

/* Log an error sentence: msg=event error="..." [param=...]. err may be NULL. */
void enso_log_failure(enum enso_log_level level, const char *event, const struct enso_error *err);

/* The same with typed fields, for lines with many or optional fields:
 *     struct enso_log_line line;
 *     if (enso_log_line_begin(&line, ENSO_LOG_INFO, "batch done")) {
 *         enso_log_line_string(&line, "model", name);
 *         enso_log_line_end(&line);
 *     }
 * begin gives false when the level is off. Keys are written by us: [a-z0-9_.] only. */
struct enso_log_line {
    size_t size;
    bool cut;    /* a field did not fit: it and all after it are left out */
    bool access; /* goes to the access log's destination */
    char text[ENSO_LOG_LINE_MAX + 24];
};
bool enso_log_line_begin(struct enso_log_line *line, enum enso_log_level level, const char *event);
void enso_log_line_string(struct enso_log_line *line, const char *key, const char *value);
void enso_log_line_bytes(struct enso_log_line *line, const char *key, const char *value,
                         size_t size); /* not NUL-terminated */
void enso_log_line_int(struct enso_log_line *line, const char *key, int64_t value);
void enso_log_line_uint(struct enso_log_line *line, const char *key, uint64_t value);
void enso_log_line_bool(struct enso_log_line *line, const char *key, bool value);
void enso_log_line_float(struct enso_log_line *line, const char *key, double value); /* %.6g */
/* Nanoseconds as milliseconds with three digits: "1.250". */
void enso_log_line_ms(struct enso_log_line *line, const char *key, uint64_t ns);
void enso_log_line_end(struct enso_log_line *line); /* sends it off */

/* The access log: one line per request, to its own file, to standard error, or nowhere.
 *     if (enso_log_access_begin(&line)) { ...fields...; enso_log_line_end(&line); }
 * begin gives false when it is off. Lines to a file have a timestamp and no level. */
bool enso_log_access_begin(struct enso_log_line *line);

/* destination: "off" (the default), "stderr" or the path of a file, which is appended to and made
 * with mode 0640. On failure the old destination stays. */
enum enso_status enso_log_access_open(const char *destination, struct enso_error *err);

/* Open the path again (SIGHUP, logrotate); nothing to do for "off" and "stderr". */
enum enso_status enso_log_access_reopen(struct enso_error *err);

/* Start the writer thread. Once; again only after stop. */
enum enso_status enso_log_start(struct enso_error *err);

/* Write what is in the ring, at most for two seconds, end the thread and close the access log. */
void enso_log_stop(void);

/* Wait until all that was logged before the call is written or timeout_ms has passed; true when
 * written. For tests and fatal exits. */
bool enso_log_flush(unsigned timeout_ms);

/* Lines lost so far: ring full, or the destination refused them. */
uint64_t enso_log_dropped(void);

/* Where messages go instead of descriptor 2 (borrowed; -1 = back to 2), and whether lines look as
 * under the journal. For tests and for daemons that hand on their standard error. */
void enso_log_set_fd(int fd);
void enso_log_set_journal(bool journal);

#endif
