/* SPDX-License-Identifier: Apache-2.0
 *
 * trace_cli FOLDER: texts that arrive one by one, served by the daemon's own scheduler, cost curve,
 * model and plans, and by the sizes of the CUDA module (kernels/cuda/ladder.c), on a card of which
 * nothing but the times of batches is known, over virtual time: for bench/gpu/ladder.py, which asks
 * what rounding batches up costs. FOLDER: a text model, whose numbers do not matter. Reads, all
 * numbers apart by white space:
 *
 *     LAUNCHES AROUND      ns that launching a batch's kernels one by one takes of the thread; that
 *                          beginning a batch takes before its kernels run
 *     N  TOKENS NS ...     times of batches of any size, tokens rising; larger ones than the last
 *                          take longer in proportion
 *     N  AT TOKENS ...     texts: when each comes, in ns, rising
 *
 * and writes, as JSON, batches (of them of plans that are not recorded) and tokens, those of the
 * largest batch and of padding (of it in batches that are not recorded), the kernels' time as run
 * and at the exact sizes, and the size that alone loses most, with its share.
 */
#include "ensod_build.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "batching/job.h"
#include "batching/queue.h"
#include "batching/scheduler.h"
#include "engine/model/model.h"
#include "kernels/cuda/ladder.h"
#include "tests/engine/graph/fake_backend.h"

#define LEAD_NS 100000 /* batching/lanes.c */
#define MAX_BATCH_NS 50000000
#define MAX_QUEUE_ITEMS 4096

static uint64_t now_ns;

static uint64_t virtual_clock(void)
{
    return now_ns;
}

static void fail(const char *format, ...) ENSO_PRINTF(1, 2);
static void fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)fputs("trace_cli: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void must(int status, const struct enso_error *err)
{
    if (status != ENSO_OK)
        fail("%s", err->message);
}

/* ---- what is read ---- */

struct pair {
    uint64_t a, b;
};

static uint64_t enqueue_ns, around_ns;
static struct pair *times, *texts; /* tokens, ns; when, tokens */
static size_t n_times, n_texts;

static uint64_t read_number(void)
{
    uint64_t n;

    if (scanf("%" SCNu64, &n) != 1)
        fail("a number is missing");
    return n;
}

static struct pair *read_pairs(size_t *ret_n)
{
    size_t n = read_number();
    struct pair *pairs = calloc(n, sizeof *pairs);

    if (n == 0 || pairs == NULL)
        fail("no numbers, or no memory for them");
    for (size_t i = 0; i < n; i++) {
        pairs[i].a = read_number();
        pairs[i].b = read_number();
    }
    *ret_n = n;
    return pairs;
}

static int by_tokens(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;

    return (x->a > y->a) - (x->a < y->a);
}

static uint64_t batch_ns(uint64_t tokens)
{
    const struct pair *last = &times[n_times - 1], *known;

    if (tokens > last->a)
        return last->b * tokens / last->a;
    known = bsearch(&(struct pair){.a = tokens}, times, n_times, sizeof *times, by_tokens);
    if (known == NULL)
        fail("%" PRIu64 " tokens: nobody said how long that takes", tokens);
    return known->b;
}

/* ---- the card ---- */

struct enso_captures {
    struct enso__ladder ladder;
};

static struct {
    uint64_t end_ns[ENSO_MAX_SLOTS], compute_ns[ENSO_MAX_SLOTS]; /* of the slots' batches */
    struct enso__ladder *ladder[ENSO_MAX_SLOTS];                 /* of their plans */
    uint64_t free_ns;                                            /* when it has nothing to do */
    uint64_t n_batches, n_long, largest, n_tokens, n_padding, n_long_padding, run_ns, exact_ns;
} card;

static void count_batch(uint64_t tokens, uint64_t padding, bool is_long)
{
    card.n_batches++;
    card.n_long += is_long;
    card.largest = ENSO_MAX(card.largest, tokens);
    card.n_tokens += tokens - padding;
    card.n_padding += padding;
    card.n_long_padding += is_long ? padding : 0;
    card.run_ns += batch_ns(tokens);
    card.exact_ns += batch_ns(tokens - padding);
}

static int card_begin(struct enso_lane *lane, unsigned slot, const struct enso_run *run,
                      struct enso_error *err)
{
    struct enso_captures **captures = run->captures;
    uint64_t tokens = (uint64_t)run->extents->n_tokens;

    (void)lane, (void)err;
    if (*captures == NULL && (*captures = calloc(1, sizeof **captures)) == NULL)
        fail("no memory");
    memset(run->down.host, 0, run->down.size_bytes);
    count_batch(tokens, (uint64_t)run->n_padding_tokens, (*captures)->ladder.is_long);
    card.ladder[slot] = &(*captures)->ladder;
    card.compute_ns[slot] = batch_ns(tokens);
    card.free_ns = ENSO_MAX(card.free_ns, now_ns + around_ns) + card.compute_ns[slot];
    card.end_ns[slot] = card.free_ns;
    return ENSO_OK;
}

static int card_finish(struct enso_lane *lane, unsigned slot, uint64_t *ret_compute_ns,
                       struct enso_error *err)
{
    (void)lane, (void)err;
    *ret_compute_ns = card.compute_ns[slot];
    if (card.ladder[slot] != NULL)
        enso__ladder_learn(card.ladder[slot], ENSO__LADDER_LONG_PERCENT, card.compute_ns[slot],
                           enqueue_ns);
    return ENSO_OK;
}

static void card_round_up(const struct enso_captures *captures, const struct enso_extents *capacity,
                          struct enso_extents *extents)
{
    enso__ladder_round_up(captures != NULL ? &captures->ladder : NULL, capacity, extents);
}

static void card_captures_free(struct enso_device *device, struct enso_captures *captures)
{
    (void)device;
    for (unsigned i = 0; i < ENSO_MAX_SLOTS; i++)
        if (card.ladder[i] == &captures->ladder)
            card.ladder[i] = NULL; /* its memory moves under a batch that runs */
    free(captures);
}

/* ---- the daemon ---- */

static struct enso_backend backend;
static struct enso_device *device;
static struct enso_lane *lane;
static struct enso_model *model;
static struct enso_scheduler *scheduler;
static struct enso_queue *queue;
static uint64_t n_told_padding; /* what the metrics would say */

static void tell_batch(void *user, const struct enso_batch_report *report)
{
    (void)user;
    n_told_padding += report->n_padding_tokens;
}

static void open_all(const char *folder)
{
    static const struct enso_observer observer = {.batch = tell_batch};
    const struct enso_queue_limits limits = {.max_queue_items = MAX_QUEUE_ITEMS,
                                             .max_batch_ns = MAX_BATCH_NS};
    struct enso_model_options options = {.path = folder, .id = "traced", .backend = &backend};
    struct enso_runner runner = {.begin = enso_model_begin, .finish = enso_model_finish};
    struct enso_error err = {0};

    backend = *fake_remote_backend();
    backend.begin = card_begin;
    backend.finish = card_finish;
    backend.round_up = card_round_up;
    backend.captures_free = card_captures_free;
    must(backend.device_open(NULL, &device, &err), &err);
    must(backend.lane_open(device, &lane, &err), &err);
    options.device = device;
    must(enso_model_load(&options, &model, &err), &err);
    runner.model = model;
    must(enso_queue_create("traced", &limits, &runner, &observer, &queue, &err), &err);
    enso_queue_seed(queue, 8, batch_ns(16)); /* as server/served_load.c does */
    enso_queue_seed(queue, 64, batch_ns(64));
    must(enso_scheduler_create(1, backend.n_slots, &scheduler, &err), &err);
    enso_scheduler_add_queue(scheduler, queue);
}

static void close_all(void)
{
    enso_scheduler_remove_queue(scheduler, queue, now_ns);
    enso_queue_destroy(queue);
    enso_scheduler_stop(scheduler, NULL, now_ns);
    enso_scheduler_destroy(scheduler);
    enso_model_forget_lane(model, lane);
    enso_model_unref(model);
    backend.lane_close(lane);
    backend.device_close(device);
}

static void job_done(struct enso_job *job, void *user)
{
    (void)user;
    must(job->status, &job->error);
    enso_job_destroy(job);
}

static void submit(uint64_t tokens)
{
    struct enso_job *job = enso_job_create(1);
    struct enso_sample *sample = enso_sample_create();
    struct enso_error err = {0};

    if (job == NULL || sample == NULL)
        fail("no memory");
    sample->n_tokens = (uint32_t)tokens;
    sample->tokens = enso_arena_alloc_zero(&sample->arena, tokens, sizeof *sample->tokens);
    if (sample->tokens == NULL)
        fail("no memory");
    job->samples[0] = sample;
    job->done = job_done;
    must(enso_scheduler_submit(scheduler, queue, job, now_ns, &err), &err);
}

/* ---- the lane, as work_with_two in batching/lanes.c ---- */

struct flight {
    struct enso_batch *batch; /* NULL: none */
    uint64_t expected_ns;     /* when it should be through; 0: not known */
};

static size_t n_arrived;

/* Time goes on, and texts come meanwhile. */
static void wait_until(uint64_t ns)
{
    while (n_arrived < n_texts && texts[n_arrived].a <= ns) {
        now_ns = ENSO_MAX(now_ns, texts[n_arrived].a);
        submit(texts[n_arrived++].b);
    }
    now_ns = ENSO_MAX(now_ns, ns);
}

static struct flight begin_next(uint64_t after_ns)
{
    struct flight f = {0};
    struct enso_error err = {0};
    uint64_t wake_at_ns;

    if (!enso_scheduler_take(scheduler, 0, now_ns, &f.batch, &wake_at_ns))
        return (struct flight){0};
    if (f.batch->predicted_ns != 0)
        f.expected_ns = ENSO_MAX(now_ns + around_ns, after_ns) + f.batch->predicted_ns;
    must(enso_batch_begin(f.batch, lane, f.expected_ns, &err), &err);
    return f;
}

static void end(const struct flight *f)
{
    struct enso_error err = {0};

    must(enso_batch_wait(f->batch, lane, &err), &err);
    enso_batch_end(scheduler, f->batch, lane, ENSO_OK, NULL, virtual_clock);
}

static void serve(void)
{
    struct flight front = {0}, next;

    for (;;) {
        uint64_t end_ns, lead_ns = LEAD_NS + 2 * around_ns;

        if (front.batch == NULL)
            front = begin_next(0);
        if (front.batch == NULL && n_arrived == n_texts)
            return;
        if (front.batch == NULL) {
            wait_until(texts[n_arrived].a);
            continue;
        }
        next = (struct flight){0};
        end_ns = card.end_ns[front.batch->slot];
        if (front.expected_ns != 0) {
            wait_until(ENSO_MIN(end_ns, front.expected_ns - ENSO_MIN(lead_ns, front.expected_ns)));
            next = begin_next(front.expected_ns);
        }
        wait_until(end_ns);
        end(&front);
        front = next;
    }
}

/* ---- what is written ---- */

static uint64_t rounded(uint64_t tokens)
{
    struct enso__ladder ladder = {0};
    struct enso_extents e = {.n_tokens = (int64_t)tokens};

    enso__ladder_learn(&ladder, ENSO__LADDER_LONG_PERCENT, batch_ns(tokens), enqueue_ns);
    enso__ladder_round_up(&ladder, &(struct enso_extents){.n_tokens = INT64_MAX}, &e);
    return (uint64_t)e.n_tokens;
}

static void print_worst(void)
{
    uint64_t worst = 0;
    double share = -1;

    for (uint64_t tokens = times[0].a; rounded(tokens) < times[n_times - 1].a; tokens++) {
        double lost = (double)batch_ns(rounded(tokens)) / (double)batch_ns(tokens) - 1;

        if (lost > share) {
            worst = tokens;
            share = lost;
        }
    }
    printf("\"worst_tokens\":%" PRIu64 ",\"worst\":%.6f", worst, share);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        fail("trace_cli FOLDER");
    enqueue_ns = read_number();
    around_ns = read_number();
    times = read_pairs(&n_times);
    texts = read_pairs(&n_texts);
    open_all(argv[1]);
    serve();
    close_all();
    if (n_told_padding != card.n_padding)
        fail("told of %" PRIu64 " tokens of padding, not of %" PRIu64, n_told_padding,
             card.n_padding);
    printf("{\"batches\":%" PRIu64 ",\"long_batches\":%" PRIu64 ",\"tokens\":%" PRIu64
           ",\"largest\":%" PRIu64 ",\"padding\":%" PRIu64 ",\"long_padding\":%" PRIu64
           ",\"run_ns\":%" PRIu64 ",\"exact_ns\":%" PRIu64 ",",
           card.n_batches, card.n_long, card.n_tokens, card.largest, card.n_padding,
           card.n_long_padding, card.run_ns, card.exact_ns);
    print_worst();
    puts("}");
    free(times);
    free(texts);
    return 0;
}
