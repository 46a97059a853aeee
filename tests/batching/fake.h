/* SPDX-License-Identifier: Apache-2.0
 *
 * What the batching tests share: a fake clock, a fake model whose runs take a + b x units of that
 * clock, jobs that note how often and with what they were done, and a virtual device that plays
 * lanes over virtual time. No threads, no sleeping: every test is deterministic.
 */
#ifndef ENSO_TESTS_BATCHING_FAKE_H
#define ENSO_TESTS_BATCHING_FAKE_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/memory.h"
#include "batching/job.h"
#include "batching/queue.h"
#include "batching/scheduler.h"
#include "engine/backend.h"

#define MS ENSO_NS_PER_MS
#define S ENSO_NS_PER_S

/* ---- the clock ---- */

static uint64_t fake_now = S;

static inline uint64_t fake_clock(void)
{
    return fake_now;
}

/* ---- the model ---- */

struct fake_model {
    uint64_t base_ns, unit_ns;  /* a run takes base + units x unit and moves the clock */
    uint64_t device_ns;         /* what finish says that a run took; 0 = look at the clock */
    uint64_t n_padding;         /* tokens of padding that finish tells of */
    unsigned n_runs;            /* calls */
    size_t n_samples;           /* of the newest call */
    enum enso_status fail;      /* every run fails so, unless OK */
    enum enso_status fail_many; /* every run of more than one sample fails so */
    uint32_t poison;            /* samples with so many characters fail with INVALID; 0 = none */
    char order[256];            /* first letter (n_characters) of every sample run, in order */
    size_t n_order;
};

static inline int fake_begin(void *model, struct enso_lane *lane, unsigned slot,
                             struct enso_sample *const *samples, size_t n,
                             const struct enso_pace *pace, struct enso_error *err)
{
    struct fake_model *m = model;
    uint64_t units = 0;
    size_t i;

    (void)lane;
    (void)slot;
    (void)pace;
    m->n_runs++;
    m->n_samples = n;
    for (i = 0; i < n; i++) {
        units += enso_sample_cost(samples[i]);
        if (m->n_order + 1 < sizeof m->order)
            m->order[m->n_order++] = (char)samples[i]->n_characters;
    }
    fake_now += m->base_ns + units * m->unit_ns;
    if (m->fail != ENSO_OK)
        return enso_error_set(err, m->fail, "the fake model fails");
    if (m->fail_many != ENSO_OK && n > 1)
        return enso_error_set(err, m->fail_many, "the fake model fails %zu samples", n);
    for (i = 0; i < n; i++)
        if (m->poison != 0 && samples[i]->n_characters == m->poison)
            return enso_error_set(err, ENSO_INVALID, "sample is poisoned");
    return ENSO_OK;
}

static inline int fake_finish(void *model, struct enso_lane *lane, unsigned slot,
                              struct enso_sample *const *samples, size_t n,
                              struct enso_spent *ret_spent, struct enso_error *err)
{
    const struct fake_model *m = model;

    (void)lane;
    (void)slot;
    (void)samples;
    (void)n;
    (void)err;
    if (ret_spent != NULL)
        *ret_spent = (struct enso_spent){m->device_ns, m->n_padding};
    return ENSO_OK;
}

static inline struct enso_queue *fake_queue(struct enso_scheduler *s, struct fake_model *m,
                                            const struct enso_queue_limits *limits,
                                            const struct enso_observer *observer)
{
    struct enso_runner runner = {.model = m, .begin = fake_begin, .finish = fake_finish};
    struct enso_queue *q;

    ck_assert_int_eq(enso_queue_create("fake", limits, &runner, observer, &q, NULL), ENSO_OK);
    if (s != NULL)
        enso_scheduler_add_queue(s, q);
    return q;
}

/* Teach the curve the model's true line. */
static inline void fake_seed(struct enso_queue *q, const struct fake_model *m, uint64_t up_to)
{
    uint64_t units;
    int i;

    for (units = 1; units <= up_to; units *= 2)
        for (i = 0; i < 4; i++)
            enso_queue_seed(q, units, m->base_ns + units * m->unit_ns);
}

/* ---- jobs ---- */

struct fake_job {
    unsigned n_done;
    enum enso_status status;
    uint64_t at_ns, submit_ns;
    struct enso_job *job; /* NULL once done: done destroys it, to prove that it may */
    uint64_t queue_ns, compute_ns;
    uint32_t batch_items, n_batches, failed_sample;
    char message[480];
};

static inline void fake_done(struct enso_job *job, void *user)
{
    struct fake_job *f = user;

    f->n_done++;
    f->status = job->status;
    f->at_ns = fake_now;
    f->submit_ns = job->submit_ns;
    f->queue_ns = job->queue_ns;
    f->compute_ns = job->compute_ns;
    f->batch_items = job->batch_items;
    f->n_batches = job->n_batches;
    f->failed_sample = job->failed_sample;
    memcpy(f->message, job->error.message, sizeof f->message);
    f->job = NULL;
    enso_job_destroy(job);
}

/* n samples of `tokens` tokens (0: dense, one item), marked with `letter`. */
static inline struct enso_job *fake_job(struct fake_job *f, uint32_t n, uint32_t tokens,
                                        char letter)
{
    struct enso_job *job = enso_job_create(n);
    uint32_t i;

    ck_assert_ptr_nonnull(job);
    for (i = 0; i < n; i++) {
        job->samples[i] = enso_sample_create();
        ck_assert_ptr_nonnull(job->samples[i]);
        job->samples[i]->n_tokens = tokens;
        job->samples[i]->n_characters = (unsigned char)letter;
    }
    memset(f, 0, sizeof *f);
    f->job = job;
    job->done = fake_done;
    job->user = f;
    return job;
}

static inline void submit(struct enso_scheduler *s, struct enso_queue *q, struct fake_job *f)
{
    struct enso_error err = {0};
    int status = enso_scheduler_submit(s, q, f->job, fake_now, &err);

    ck_assert_msg(status == ENSO_OK, "refused: %s", err.message);
}

/* Make and submit at once. */
static inline void send(struct enso_scheduler *s, struct enso_queue *q, struct fake_job *f,
                        uint32_t n, uint32_t tokens, char letter)
{
    (void)fake_job(f, n, tokens, letter);
    submit(s, q, f);
}

/* Expect a refusal; the job is destroyed. Returns retry_after_ns. */
static inline uint64_t expect_refused(struct enso_scheduler *s, struct enso_queue *q,
                                      struct fake_job *f, enum enso_status status,
                                      const char *words)
{
    struct enso_error err = {0};
    uint64_t retry;

    ck_assert_int_eq(enso_scheduler_submit(s, q, f->job, fake_now, &err), status);
    ck_assert_int_eq(err.status, status);
    ck_assert_msg(strstr(err.message, words) != NULL, "'%s' not in '%s'", words, err.message);
    ck_assert_uint_eq(f->n_done, 0);
    retry = f->job->retry_after_ns;
    enso_job_destroy(f->job);
    f->job = NULL;
    return retry;
}

/* Take and run one batch on lane 0; false when there was none. */
static inline bool step(struct enso_scheduler *s)
{
    struct enso_batch *batch;
    uint64_t wake;

    if (!enso_scheduler_take(s, 0, fake_now, &batch, &wake))
        return false;
    enso_batch_run(s, batch, NULL, fake_clock);
    return true;
}

static inline struct enso_batch *take(struct enso_scheduler *s, unsigned lane)
{
    struct enso_batch *batch = NULL;
    uint64_t wake;

    return enso_scheduler_take(s, lane, fake_now, &batch, &wake) ? batch : NULL;
}

static inline void expect_idle_until(struct enso_scheduler *s, uint64_t at_ns)
{
    struct enso_batch *batch;
    uint64_t wake;

    ck_assert(!enso_scheduler_take(s, 0, fake_now, &batch, &wake));
    ck_assert_uint_eq(wake, at_ns);
}

/* ---- the usual set-up: one scheduler of two lanes, one model ---- */

static struct enso_scheduler *sched;
static struct enso_queue *queue;
static struct fake_model model;

static inline void start(const struct enso_queue_limits *limits, uint64_t base_ns, uint64_t unit_ns)
{
    ck_assert_int_eq(enso_scheduler_create(2, 1, &sched, NULL), ENSO_OK);
    model = (struct fake_model){.base_ns = base_ns, .unit_ns = unit_ns};
    queue = fake_queue(NULL, &model, limits, NULL);
    fake_seed(queue, &model, 1 << 14);
    enso_scheduler_add_queue(sched, queue);
}

static inline void finish(void)
{
    enso_scheduler_remove_queue(sched, queue, fake_now);
    enso_queue_destroy(queue);
    enso_scheduler_stop(sched, NULL, fake_now);
    enso_scheduler_destroy(sched);
}

static inline int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
