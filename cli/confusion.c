/* SPDX-License-Identifier: Apache-2.0
 *
 * Figures out of a confusion matrix: see confusion.h.
 */
#include "cli/confusion.h"

#include <assert.h>
#include <string.h>

#include "base/memory.h"

enum enso_status enso_confusion_init(struct enso_confusion *c, size_t n_classes,
                                     struct enso_error *err)
{
    size_t cells;

    *c = (struct enso_confusion){.n = n_classes};
    if (enso_size_mul(n_classes, n_classes, &cells))
        c->counts = enso_alloc_zero(cells, sizeof *c->counts);
    return c->counts != NULL ? ENSO_OK : enso_error_no_memory(err, "the confusion matrix");
}

void enso_confusion_done(struct enso_confusion *c)
{
    enso_free(c->counts);
    *c = (struct enso_confusion){0};
}

void enso_confusion_add(struct enso_confusion *c, size_t truth, size_t answer)
{
    assert(truth < c->n && answer < c->n);
    if (c->counts[truth * c->n + answer] < UINT32_MAX) {
        c->counts[truth * c->n + answer]++;
        c->total++;
    }
}

uint32_t enso_confusion_count(const struct enso_confusion *c, size_t truth, size_t answer)
{
    return c->counts[truth * c->n + answer];
}

static double ratio(uint64_t a, uint64_t b)
{
    return b != 0 ? (double)a / (double)b : 0;
}

void enso_confusion_figures(const struct enso_confusion *c, struct enso_class_figures *ret_classes,
                            struct enso_confusion_figures *ret)
{
    size_t present = 0;

    *ret = (struct enso_confusion_figures){.total = c->total};
    memset(ret_classes, 0, c->n * sizeof *ret_classes);
    for (size_t truth = 0; truth < c->n; truth++) {
        for (size_t answer = 0; answer < c->n; answer++) {
            uint32_t count = enso_confusion_count(c, truth, answer);

            ret_classes[truth].support += count;
            ret_classes[answer].predicted += count;
        }
    }
    for (size_t k = 0; k < c->n; k++) {
        struct enso_class_figures *f = &ret_classes[k];

        f->correct = enso_confusion_count(c, k, k);
        f->precision = ratio(f->correct, f->predicted);
        f->recall = ratio(f->correct, f->support);
        f->f1 = ratio(2 * f->correct, f->support + f->predicted);
        ret->correct += f->correct;
        if (f->support + f->predicted == 0)
            continue;
        present++;
        ret->precision += f->precision;
        ret->recall += f->recall;
        ret->f1 += f->f1;
    }
    ret->accuracy = ratio(ret->correct, ret->total);
    if (present != 0) {
        ret->precision /= (double)present;
        ret->recall /= (double)present;
        ret->f1 /= (double)present;
    }
}

/* Put the pair where it belongs among the n sorted ones; equal counts stay in the order met. */
static size_t insert_pair(struct enso_confusion_pair *pairs, size_t n, size_t max,
                          struct enso_confusion_pair pair)
{
    size_t at = n;

    while (at > 0 && pairs[at - 1].count < pair.count)
        at--;
    if (at == max)
        return n;
    n = n < max ? n + 1 : max;
    memmove(&pairs[at + 1], &pairs[at], (n - 1 - at) * sizeof *pairs);
    pairs[at] = pair;
    return n;
}

size_t enso_confusion_worst(const struct enso_confusion *c, struct enso_confusion_pair *ret,
                            size_t max)
{
    size_t n = 0;

    for (size_t truth = 0; max != 0 && truth < c->n; truth++) {
        for (size_t answer = 0; answer < c->n; answer++) {
            uint32_t count = enso_confusion_count(c, truth, answer);

            if (truth != answer && count != 0)
                n = insert_pair(ret, n, max, (struct enso_confusion_pair){truth, answer, count});
        }
    }
    return n;
}
