/* SPDX-License-Identifier: Apache-2.0
 *
 * An evaluation: every item of a labelled set (or a sample of them) asked about, one item in a
 * request, and the answers counted. Two passes over the set: the first counts the items and finds
 * labels that the model does not have before anything is sent, the second sends.
 *
 * A sample of n out of m items takes item i where floor((i + 1) n / m) > floor(i n / m): evenly
 * spread over the set, and the same ones each time.
 */
#ifndef ENSO_CLI_EVAL_RUN_H
#define ENSO_CLI_EVAL_RUN_H

#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"
#include "cli/dataset.h"
#include "cli/eval_report.h"

struct enso_eval_spec {
    const char *url, *unix_path; /* of the classify call for this kind of set; unix_path or NULL */
    const char *server;          /* as the user said it */
    struct enso_dataset_spec set;
    uint64_t sample; /* 0: all */
    uint64_t timeout_ns;
    const volatile int *stop; /* not 0: end early */
};

/* The first pass: items and skipped of the result. result->model and ->labels are there.
 * ENSO_INVALID for labels that the model does not have, in a sentence with the remedy;
 * ENSO_CANCELLED, without a sentence: stopped early. */
enum enso_status enso_eval_scan(const struct enso_eval_spec *spec, struct enso_eval_result *result,
                                struct enso_error *err) ENSO_MUST_CHECK;

/* The second: everything else. result->confusion, ->latency and ->concurrency are set up.
 * ENSO_CANCELLED, without a sentence: stopped early, what is in the result is right as far as it
 * goes. */
enum enso_status enso_eval_run(const struct enso_eval_spec *spec, struct enso_eval_result *result,
                               struct enso_error *err) ENSO_MUST_CHECK;

/* Is item i of n_items in a sample of `sample`? 0: all are. */
bool enso_eval_in_sample(uint64_t i, uint64_t n_items, uint64_t sample);

#endif
