/* SPDX-License-Identifier: Apache-2.0
 *
 * A confusion matrix and the figures that come out of it.
 *
 * For a class: precision = correct / answers of it, recall = correct / items of it, F1 = their
 * harmonic mean; each is 0 where it would divide by 0. Macro figures are plain means over the
 * classes that occur, as truth or as answer. One owner at a time.
 */
#ifndef ENSO_CLI_CONFUSION_H
#define ENSO_CLI_CONFUSION_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"

struct enso_confusion {
    size_t n;         /* classes */
    uint32_t *counts; /* [n, n], rows truth, columns answer; owned */
    uint64_t total;
};

struct enso_class_figures {
    uint64_t support, predicted, correct; /* items of it, answers of it, both */
    double precision, recall, f1;
};

struct enso_confusion_figures {
    uint64_t total, correct;
    double accuracy;              /* 0 when there is nothing */
    double precision, recall, f1; /* macro */
};

struct enso_confusion_pair {
    size_t truth, answer; /* different */
    uint64_t count;
};

enum enso_status enso_confusion_init(struct enso_confusion *c, size_t n_classes,
                                     struct enso_error *err) ENSO_MUST_CHECK;
void enso_confusion_done(struct enso_confusion *c); /* also of a zeroed struct */

/* truth and answer are below n. */
void enso_confusion_add(struct enso_confusion *c, size_t truth, size_t answer);
uint32_t enso_confusion_count(const struct enso_confusion *c, size_t truth, size_t answer);

/* ret_classes [n]. */
void enso_confusion_figures(const struct enso_confusion *c, struct enso_class_figures *ret_classes,
                            struct enso_confusion_figures *ret);

/* The most frequent mistakes, at most max, most frequent first, then in the order of the matrix;
 * how many were written. */
size_t enso_confusion_worst(const struct enso_confusion *c, struct enso_confusion_pair *ret,
                            size_t max);

#endif
