/* SPDX-License-Identifier: Apache-2.0
 *
 * The report of an evaluation: see eval_report.h.
 */
#include "cli/eval_report.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/number.h"
#include "cli/cli.h"
#include "cli/report.h"

#define LABEL_WIDTH 64    /* longest that the table of classes shows */
#define LABEL_LEAST 16    /* where there is no room for that */
#define CLASS_FIGURES 48  /* columns beside it */
#define MATRIX_LABEL 20   /* longest of the matrix */
#define MATRIX_CLASSES 24 /* more are not looked at */

static const struct {
    const char *name;
    unsigned per_mille;
} percentiles[] = {{"p50", 500}, {"p90", 900}, {"p95", 950}, {"p99", 990}};

struct figures {
    struct enso_confusion_figures all;
    struct enso_class_figures *classes; /* [n], owned */
    struct enso_confusion_pair worst[ENSO_EVAL_WORST];
    size_t n_worst;
};

static bool compute(const struct enso_eval_result *r, struct figures *f, struct enso_buffer *b)
{
    f->classes = enso_alloc_zero(r->confusion.n, sizeof *f->classes);
    if (f->classes == NULL) {
        b->failed = true;
        return false;
    }
    enso_confusion_figures(&r->confusion, f->classes, &f->all);
    f->n_worst = enso_confusion_worst(&r->confusion, f->worst, ENSO_EVAL_WORST);
    return true;
}

static double throughput(const struct enso_eval_result *r)
{
    return r->seconds > 0 ? (double)r->answered / r->seconds : 0;
}

/* --- for people --------------------------------------------------------------------------------
 */

/* Characters of UTF-8. */
static size_t width_of(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* The text without control characters, cut and filled up to `width` characters. */
static void put_padded(struct enso_buffer *b, const char *text, size_t width)
{
    size_t n = width_of(text), keep = n > width ? width - 2 : n, at = b->size, bytes = 0;

    for (size_t k = 0; text[bytes] != '\0'; bytes++) {
        k += ((unsigned char)text[bytes] & 0xc0) != 0x80;
        if (k > keep)
            break;
    }
    enso_buffer_append(b, text, bytes);
    if (!b->failed && b->data != NULL)
        enso_cli_clean(b->data + at);
    if (n > width)
        enso_buffer_puts(b, "..");
    for (; n < width; n++)
        enso_buffer_putc(b, ' ');
}

static void put_clean(struct enso_buffer *b, const char *text)
{
    put_padded(b, text, width_of(text));
}

static void put_accuracy(const struct figures *f, struct enso_buffer *b)
{
    enso_buffer_printf(b,
                       "  accuracy    %6.2f %%  (%llu of %llu)\n"
                       "  macro       precision %.2f %%, recall %.2f %%, F1 %.2f %%\n",
                       100 * f->all.accuracy, (unsigned long long)f->all.correct,
                       (unsigned long long)f->all.total, 100 * f->all.precision,
                       100 * f->all.recall, 100 * f->all.f1);
}

static void put_latency(const struct enso_eval_result *r, struct enso_buffer *b)
{
    enso_buffer_puts(b, "  latency     mean ");
    enso_report_put_time(b, enso_latency_mean_ns(&r->latency), 0);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(percentiles); i++) {
        enso_buffer_printf(b, ", %s ", percentiles[i].name);
        enso_report_put_time(
            b, (double)enso_latency_percentile(&r->latency, percentiles[i].per_mille), 0);
    }
    enso_buffer_puts(b, ", max ");
    enso_report_put_time(b, (double)r->latency.max_ns, 0);
    enso_buffer_putc(b, '\n');
}

static void put_summary(const struct enso_eval_result *r, const struct figures *f,
                        struct enso_buffer *b)
{
    put_clean(b, r->model);
    enso_buffer_puts(b, " on ");
    put_clean(b, r->set);
    enso_buffer_printf(b, ": %llu items, %zu labels%s%s\n\n", (unsigned long long)r->items,
                       r->labels.n,
                       r->multi_label ? " (multi-label: the most probable one counts)" : "",
                       r->interrupted ? "; INTERRUPTED, this is a part" : "");
    if (r->answered != 0)
        put_accuracy(f, b);
    enso_buffer_printf(b,
                       "  answered    %llu in %.2f s: %.1f per second, %u in flight\n"
                       "  failed      %llu\n",
                       (unsigned long long)r->answered, r->seconds, throughput(r), r->concurrency,
                       (unsigned long long)r->failed);
    if (r->skipped != 0)
        enso_buffer_printf(b, "  left out    %llu\n", (unsigned long long)r->skipped);
    if (r->answered != 0)
        put_latency(r, b);
}

/* Characters of the longest label, at most `most`, at least `least`. */
static size_t label_width(const struct enso_eval_result *r, size_t least, size_t most)
{
    size_t width = least;

    for (size_t i = 0; i < r->labels.n; i++)
        width = ENSO_MAX(width, width_of(r->labels.names[i]));
    return ENSO_MIN(width, most);
}

static void put_classes(const struct enso_eval_result *r, const struct figures *f, unsigned columns,
                        struct enso_buffer *b)
{
    size_t room = columns > LABEL_LEAST + CLASS_FIGURES ? columns - CLASS_FIGURES : LABEL_LEAST;
    size_t width = label_width(r, 5, ENSO_MIN(room, (size_t)LABEL_WIDTH));

    enso_buffer_puts(b, "\n");
    put_padded(b, "Class", width);
    enso_buffer_puts(b, "    items  answers  precision   recall       F1\n");
    for (size_t i = 0; i < r->labels.n; i++) {
        const struct enso_class_figures *c = &f->classes[i];

        if (c->support + c->predicted == 0)
            continue;
        put_padded(b, r->labels.names[i], width);
        enso_buffer_printf(b, " %8llu %8llu   %6.2f %% %6.2f %% %6.2f %%\n",
                           (unsigned long long)c->support, (unsigned long long)c->predicted,
                           100 * c->precision, 100 * c->recall, 100 * c->f1);
    }
}

static int digits_of(uint64_t n)
{
    char text[24];

    return (int)enso_number_write_u64(n, text);
}

/* The whole matrix when it fits, its columns headed by the numbers of the classes. */
static void put_matrix(const struct enso_eval_result *r, unsigned columns, struct enso_buffer *b)
{
    const struct enso_confusion *c = &r->confusion;
    size_t width = label_width(r, 1, MATRIX_LABEL);
    int cell = 2;

    if (c->n > MATRIX_CLASSES || c->n < 2)
        return;
    for (size_t i = 0; i < c->n * c->n; i++)
        cell = ENSO_MAX(cell, digits_of(c->counts[i]));
    cell++;
    if (3 + width + c->n * (size_t)cell > columns)
        return;
    enso_buffer_puts(b, "\nConfusion: rows are the set's labels, columns the answers\n");
    enso_buffer_printf(b, "%*s", (int)width + 3, "");
    for (size_t i = 0; i < c->n; i++)
        enso_buffer_printf(b, "%*zu", cell, i);
    enso_buffer_putc(b, '\n');
    for (size_t i = 0; i < c->n; i++) {
        enso_buffer_printf(b, "%2zu ", i);
        put_padded(b, r->labels.names[i], width);
        for (size_t k = 0; k < c->n; k++) {
            if (enso_confusion_count(c, i, k) == 0)
                enso_buffer_printf(b, "%*s", cell, ".");
            else
                enso_buffer_printf(b, "%*u", cell, enso_confusion_count(c, i, k));
        }
        enso_buffer_putc(b, '\n');
    }
}

static void put_worst(const struct enso_eval_result *r, const struct figures *f,
                      struct enso_buffer *b)
{
    if (f->n_worst == 0)
        return;
    enso_buffer_puts(b, "\nMost frequent mistakes\n");
    for (size_t i = 0; i < f->n_worst; i++) {
        enso_buffer_printf(b, "  %6llu  ", (unsigned long long)f->worst[i].count);
        put_clean(b, r->labels.names[f->worst[i].truth]);
        enso_buffer_puts(b, " answered as ");
        put_clean(b, r->labels.names[f->worst[i].answer]);
        enso_buffer_putc(b, '\n');
    }
}

static void put_problems(const struct enso_eval_result *r, struct enso_buffer *b)
{
    if (r->n_problems == 0)
        return;
    if (r->failed > r->n_problems)
        enso_buffer_printf(b, "\nProblems (the first %zu of %llu)\n", r->n_problems,
                           (unsigned long long)r->failed);
    else
        enso_buffer_puts(b, "\nProblems\n");
    for (size_t i = 0; i < r->n_problems; i++) {
        enso_buffer_puts(b, "  ");
        put_clean(b, r->problems[i].item);
        enso_buffer_puts(b, ": ");
        put_clean(b, r->problems[i].error);
        enso_buffer_putc(b, '\n');
    }
}

void enso_eval_report_text(const struct enso_eval_result *r, unsigned columns,
                           struct enso_buffer *b)
{
    struct figures f = {0};

    if (!compute(r, &f, b))
        return;
    put_summary(r, &f, b);
    if (r->answered != 0) {
        put_classes(r, &f, columns, b);
        put_matrix(r, columns, b);
        put_worst(r, &f, b);
    }
    put_problems(r, b);
    enso_free(f.classes);
}

/* --- JSON --------------------------------------------------------------------------------------
 */

static void put_string(struct enso_buffer *b, const char *key, const char *value)
{
    enso_buffer_printf(b, "\"%s\":", key);
    enso_buffer_put_json_string(b, value, strlen(value));
}

static void put_number(struct enso_buffer *b, const char *key, double value)
{
    enso_buffer_printf(b, "\"%s\":", key);
    enso_buffer_put_f64(b, value);
}

static void put_scores(struct enso_buffer *b, double precision, double recall, double f1)
{
    put_number(b, "precision", precision);
    enso_buffer_putc(b, ',');
    put_number(b, "recall", recall);
    enso_buffer_putc(b, ',');
    put_number(b, "f1", f1);
}

static void put_classes_json(const struct enso_eval_result *r, const struct figures *f,
                             struct enso_buffer *b)
{
    enso_buffer_puts(b, ",\"classes\":[");
    for (size_t i = 0; i < r->labels.n; i++) {
        const struct enso_class_figures *c = &f->classes[i];

        enso_buffer_puts(b, i != 0 ? ",{" : "{");
        put_string(b, "label", r->labels.names[i]);
        enso_buffer_printf(b, ",\"support\":%llu,\"predicted\":%llu,\"correct\":%llu,",
                           (unsigned long long)c->support, (unsigned long long)c->predicted,
                           (unsigned long long)c->correct);
        put_scores(b, c->precision, c->recall, c->f1);
        enso_buffer_putc(b, '}');
    }
    enso_buffer_puts(b, "],\"confusion\":[");
    for (size_t i = 0; i < r->confusion.n; i++) {
        enso_buffer_puts(b, i != 0 ? ",[" : "[");
        for (size_t k = 0; k < r->confusion.n; k++)
            enso_buffer_printf(b, k != 0 ? ",%u" : "%u", enso_confusion_count(&r->confusion, i, k));
        enso_buffer_putc(b, ']');
    }
    enso_buffer_puts(b, "],\"worst\":[");
    for (size_t i = 0; i < f->n_worst; i++) {
        enso_buffer_puts(b, i != 0 ? ",{" : "{");
        put_string(b, "truth", r->labels.names[f->worst[i].truth]);
        enso_buffer_putc(b, ',');
        put_string(b, "answer", r->labels.names[f->worst[i].answer]);
        enso_buffer_printf(b, ",\"count\":%llu}", (unsigned long long)f->worst[i].count);
    }
    enso_buffer_putc(b, ']');
}

static void put_times_json(const struct enso_eval_result *r, struct enso_buffer *b)
{
    enso_buffer_putc(b, ',');
    put_number(b, "seconds", r->seconds);
    enso_buffer_putc(b, ',');
    put_number(b, "throughput", throughput(r));
    enso_buffer_puts(b, ",\"latency_ms\":{");
    put_number(b, "mean", enso_latency_mean_ns(&r->latency) * 1e-6);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(percentiles); i++) {
        enso_buffer_putc(b, ',');
        put_number(b, percentiles[i].name,
                   (double)enso_latency_percentile(&r->latency, percentiles[i].per_mille) * 1e-6);
    }
    enso_buffer_putc(b, ',');
    put_number(b, "max", (double)r->latency.max_ns * 1e-6);
    enso_buffer_putc(b, '}');
}

void enso_eval_report_json(const struct enso_eval_result *r, struct enso_buffer *b)
{
    struct figures f = {0};

    if (!compute(r, &f, b))
        return;
    enso_buffer_putc(b, '{');
    put_string(b, "model", r->model);
    enso_buffer_putc(b, ',');
    put_string(b, "task", r->task);
    enso_buffer_printf(b, ",\"items\":%llu,\"answered\":%llu,\"failed\":%llu,\"skipped\":%llu,",
                       (unsigned long long)r->items, (unsigned long long)r->answered,
                       (unsigned long long)r->failed, (unsigned long long)r->skipped);
    put_number(b, "accuracy", f.all.accuracy);
    enso_buffer_puts(b, ",\"macro\":{");
    put_scores(b, f.all.precision, f.all.recall, f.all.f1);
    enso_buffer_putc(b, '}');
    put_classes_json(r, &f, b);
    put_times_json(r, b);
    enso_buffer_puts(b, ",\"problems\":[");
    for (size_t i = 0; i < r->n_problems; i++) {
        enso_buffer_puts(b, i != 0 ? ",{" : "{");
        put_string(b, "item", r->problems[i].item);
        enso_buffer_putc(b, ',');
        put_string(b, "error", r->problems[i].error);
        enso_buffer_putc(b, '}');
    }
    enso_buffer_puts(b, "]}\n");
    enso_free(f.classes);
}
