/* SPDX-License-Identifier: Apache-2.0
 *
 * What `enso eval` found, for people and as JSON.
 */
#ifndef ENSO_CLI_EVAL_REPORT_H
#define ENSO_CLI_EVAL_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "cli/confusion.h"
#include "cli/labels.h"
#include "cli/latency.h"

#define ENSO_EVAL_PROBLEMS 20 /* are kept */
#define ENSO_EVAL_WORST 10

struct enso_eval_problem {
    char item[200];
    char error[480];
};

struct enso_eval_result {
    const char *model, *task, *set; /* borrowed; set: the path, as the user said it */
    bool multi_label, interrupted;
    unsigned concurrency;
    struct enso_labels labels;
    struct enso_confusion confusion;
    struct enso_latency latency;
    uint64_t items;            /* to be asked about, of them: */
    uint64_t answered, failed; /* together less than items when interrupted */
    uint64_t skipped;          /* in the set, but left out on purpose */
    double seconds;
    struct enso_eval_problem problems[ENSO_EVAL_PROBLEMS];
    size_t n_problems;
};

/* Append to b, whose failed flag tells if memory ran out. `columns` is the width of the terminal.
 */
void enso_eval_report_text(const struct enso_eval_result *r, unsigned columns,
                           struct enso_buffer *b);
void enso_eval_report_json(const struct enso_eval_result *r, struct enso_buffer *b);

#endif
