/* SPDX-License-Identifier: Apache-2.0
 *
 * The progress line: see progress.h.
 */
#include "cli/progress.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

#define BAR_WIDTH 24
#define BAR_COLUMNS 72 /* a bar only on terminals as wide */
#define PACE_NS (100 * ENSO_NS_PER_MS)

void enso_progress_init(struct enso_progress *progress, uint64_t total, uint64_t now_ns)
{
    *progress = (struct enso_progress){.shown = isatty(STDERR_FILENO) == 1,
                                       .total = total,
                                       .begin_ns = now_ns,
                                       .drawn_ns = now_ns};
}

static void put_seconds(struct enso_buffer *b, double seconds)
{
    unsigned long s = seconds < 1e6 ? (unsigned long)(seconds + 0.999) : 1000000;

    if (s < 100)
        enso_buffer_printf(b, "%lu s", s);
    else if (s < 6000)
        enso_buffer_printf(b, "%lu min", (s + 59) / 60);
    else
        enso_buffer_printf(b, "%lu h", (s + 3599) / 3600);
}

/* "[####      ] 12/50  8.1/s  5 s left" */
static void put_share(const struct enso_progress *progress, uint64_t done, uint64_t now_ns,
                      struct enso_buffer *b)
{
    static const char bar[] = "########################";
    double seconds = (double)(now_ns - progress->begin_ns) * 1e-9;
    double rate = seconds > 0 ? (double)done / seconds : 0;
    double part = (double)done / (double)progress->total;

    if (progress->columns == 0 || progress->columns >= BAR_COLUMNS)
        enso_buffer_printf(b, "[%-*.*s] ", BAR_WIDTH, (int)(part * BAR_WIDTH), bar);
    enso_buffer_printf(b, "%llu/%llu", (unsigned long long)done,
                       (unsigned long long)progress->total);
    if (rate > 0) {
        enso_buffer_printf(b, "  %.1f/s  ", rate);
        put_seconds(b, (double)(progress->total - done) / rate);
        enso_buffer_puts(b, " left");
    }
}

void enso_progress_write(const struct enso_progress *progress, uint64_t done, const char *note,
                         uint64_t now_ns, struct enso_buffer *b)
{
    size_t from = b->size;

    if (progress->total != 0)
        put_share(progress, done, now_ns, b);
    else
        enso_buffer_printf(b, "%llu", (unsigned long long)done);
    if (note[0] != '\0')
        enso_buffer_printf(b, "  %s", note);
    if (!b->failed && progress->columns != 0 && b->size - from >= progress->columns) {
        b->size = from + progress->columns - 1; /* of ASCII */
        b->data[b->size] = '\0';
    }
}

static unsigned columns_of_terminal(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void enso_progress_show(struct enso_progress *progress, uint64_t done, const char *note,
                        uint64_t now_ns)
{
    struct enso_buffer line = ENSO_BUFFER_INIT;

    if (!progress->shown || now_ns - progress->drawn_ns < PACE_NS)
        return;
    progress->columns = columns_of_terminal();
    enso_progress_write(progress, done, note, now_ns, &line);
    if (!line.failed) /* a line less is no loss */
        (void)fprintf(stderr, "\r\033[K%s", line.data);
    enso_buffer_done(&line);
    progress->drawn = true;
    progress->drawn_ns = now_ns;
}

void enso_progress_done(struct enso_progress *progress)
{
    if (progress->drawn)
        (void)fputs("\r\033[K", stderr);
    progress->drawn = false;
}
