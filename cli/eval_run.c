/* SPDX-License-Identifier: Apache-2.0
 *
 * The two passes of an evaluation: see eval_run.h.
 */
#include "cli/eval_run.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/memory.h"
#include "cli/ask_many.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/inputs.h"
#include "cli/progress.h"

#define UNKNOWN_SHOWN 4     /* labels a sentence names */
#define SENTENCE_LABELS 110 /* bytes of the model's labels in it */
#define COLUMN_HINT 63      /* less when it has this hint */

bool enso_eval_in_sample(uint64_t i, uint64_t n_items, uint64_t sample)
{
    unsigned __int128 n = sample;

    if (sample == 0 || sample >= n_items)
        return true;
    return (i + 1) * n / n_items > i * n / n_items;
}

static bool stopped(const struct enso_eval_spec *spec)
{
    return spec->stop != NULL && *spec->stop != 0;
}

/* --- first pass --------------------------------------------------------------------------------
 */

struct unknown {
    char label[36], item[64]; /* cut */
};

struct scan {
    const struct enso_eval_result *result;
    struct unknown shown[UNKNOWN_SHOWN]; /* different ones */
    size_t n_shown;
    uint64_t n_items;
    bool first; /* the set's first item has such a label */
};

static void note_unknown(struct scan *scan, const struct enso_dataset_item *item)
{
    struct unknown entry = {.label = ""};

    enso_cli_cut(entry.label, sizeof entry.label, item->label);
    enso_cli_cut(entry.item, sizeof entry.item, item->name);
    scan->first |= scan->result->items + scan->result->skipped + scan->n_items == 0;
    scan->n_items++;
    for (size_t i = 0; i < scan->n_shown; i++) {
        if (strcmp(scan->shown[i].label, entry.label) == 0)
            return;
    }
    if (scan->n_shown < UNKNOWN_SHOWN)
        scan->shown[scan->n_shown++] = entry;
}

/* Some of the model's labels, quoted. */
static void put_labels(struct enso_buffer *b, const struct enso_labels *labels, size_t most)
{
    for (size_t i = 0; i < labels->n; i++) {
        char name[36];

        enso_cli_cut(name, sizeof name, labels->names[i]);
        if (b->size + strlen(name) > most) {
            enso_buffer_puts(b, ", ...");
            return;
        }
        enso_buffer_printf(b, i != 0 ? ", '%s'" : "'%s'", name);
    }
}

static enum enso_status tell_unknown(const struct scan *scan, bool texts, struct enso_error *err)
{
    const struct enso_labels *labels = &scan->result->labels;
    struct enso_buffer others = ENSO_BUFFER_INIT, known = ENSO_BUFFER_INIT;
    bool column = texts && scan->first; /* a header taken for an item, or the wrong column? */
    enum enso_status st;

    enso_buffer_puts(&others, "");
    for (size_t i = 1; i < scan->n_shown; i++)
        enso_buffer_printf(&others, "%s'%s'", i == 1 ? "; others: " : ", ", scan->shown[i].label);
    put_labels(&known, labels, SENTENCE_LABELS - (column ? COLUMN_HINT : 0));
    if (others.failed || known.failed)
        st = enso_error_no_memory(err, "a sentence");
    else
        st = enso_error_set(
            err, ENSO_INVALID,
            "%s: the model has no label '%s' (%llu item%s with unknown labels%s); "
            "its %zu: %s; %sgive --map FILE with lines 'label of the set,label of "
            "the model'%s",
            scan->shown[0].item, scan->shown[0].label, (unsigned long long)scan->n_items,
            scan->n_items == 1 ? "" : "s", others.data != NULL ? others.data : "", labels->n,
            known.data != NULL ? known.data : "",
            column ? "name its column (--label-column NAME) if there is a header, or " : "",
            texts ? "" : " (nothing behind the comma: left out)");
    enso_buffer_done(&others);
    enso_buffer_done(&known);
    return st;
}

enum enso_status enso_eval_scan(const struct enso_eval_spec *spec, struct enso_eval_result *result,
                                struct enso_error *err)
{
    struct scan scan = {.result = result};
    struct enso_dataset *set = NULL;
    struct enso_dataset_item item;
    struct enso_progress progress;
    uint64_t strays;
    bool more = true, pictures;
    enum enso_status st = enso_dataset_open(&spec->set, &set, err);

    if (st != ENSO_OK)
        return st;
    enso_progress_init(&progress, 0, enso_clock_now_ns());
    while (st == ENSO_OK) {
        size_t class;

        st = stopped(spec) ? ENSO_CANCELLED : enso_dataset_next(set, &item, &more, err);
        if (st != ENSO_OK || !more)
            break;
        class = enso_labels_find(&result->labels, item.label);
        if (class == ENSO_LABEL_UNKNOWN)
            note_unknown(&scan, &item);
        else if (class == ENSO_LABEL_SKIP)
            result->skipped++;
        else
            result->items++;
        if (progress.shown)
            enso_progress_show(&progress, result->items, "items found", enso_clock_now_ns());
    }
    enso_progress_done(&progress);
    pictures = enso_dataset_has_pictures(set);
    strays = enso_dataset_skipped(set);
    result->skipped += strays;
    enso_dataset_close(set);
    if (st == ENSO_OK && scan.n_items != 0)
        st = tell_unknown(&scan, !pictures, err);
    if (st == ENSO_OK && result->items == 0)
        st = enso_error_set(err, ENSO_INVALID, "'%.200s' holds no labelled items%s", spec->set.path,
                            result->skipped > strays ? "; the map leaves all out"
                            : strays != 0 ? "; pictures belong in folders named after their labels"
                                          : "");
    return st;
}

/* --- second pass -------------------------------------------------------------------------------
 */

struct run {
    const struct enso_eval_spec *spec;
    struct enso_eval_result *result;
    struct enso_dataset *set;
    uint64_t n_seen;  /* items of the set met so far */
    uint64_t n_items; /* of the whole set */
    struct enso_progress progress;
};

static void note_problem(struct enso_eval_result *result, const char *item, const char *sentence)
{
    struct enso_eval_problem *problem = &result->problems[result->n_problems];

    result->failed++;
    if (result->n_problems == ENSO_EVAL_PROBLEMS)
        return;
    result->n_problems++;
    enso_cli_cut(problem->item, sizeof problem->item, item);
    enso_cli_cut(problem->error, sizeof problem->error, sentence);
}

/* The text in `request->body` as a request for it. */
static enum enso_status wrap_text(const char *model, struct enso_ask_request *request,
                                  struct enso_error *err)
{
    struct enso_buffer body = ENSO_BUFFER_INIT;

    enso_buffer_puts(&body, "{\"model\":");
    enso_buffer_put_json_string(&body, model, strlen(model));
    enso_buffer_puts(&body, ",\"top_k\":1,\"probs\":false,\"input\":");
    enso_buffer_put_json_string(&body, request->body.data != NULL ? request->body.data : "",
                                request->body.size);
    enso_buffer_putc(&body, '}');
    enso_buffer_done(&request->body);
    request->body = body;
    request->content_type = "application/json";
    return body.failed ? enso_error_no_memory(err, "a request") : ENSO_OK;
}

/* The next item that is in the sample and not left out. */
static enum enso_status next_item(struct run *run, struct enso_dataset_item *item, size_t *class,
                                  bool *more, struct enso_error *err)
{
    enum enso_status st;

    while ((st = enso_dataset_next(run->set, item, more, err)) == ENSO_OK && *more) {
        if (stopped(run->spec))
            return ENSO_CANCELLED;
        *class = enso_labels_find(&run->result->labels, item->label);
        if (*class == ENSO_LABEL_UNKNOWN)
            return enso_error_set(err, ENSO_INVALID, "'%.200s' changed while it was read",
                                  run->spec->set.path);
        if (*class != ENSO_LABEL_SKIP &&
            enso_eval_in_sample(run->n_seen++, run->n_items, run->spec->sample))
            return ENSO_OK;
    }
    return st;
}

static enum enso_status on_next(void *user, struct enso_ask_request *request, bool *ret_more,
                                struct enso_error *err)
{
    struct run *run = user;
    struct enso_dataset_item item;
    enum enso_status st;

    for (;;) {
        struct enso_error problem = {0};

        st = next_item(run, &item, &request->tag, ret_more, err);
        if (st != ENSO_OK || !*ret_more)
            return st;
        st = enso_dataset_read(run->set, &request->body, &problem, err);
        if (st != ENSO_OK)
            return st;
        if (problem.status == ENSO_OK)
            break;
        note_problem(run->result, item.name, problem.message);
    }
    enso_buffer_puts(&request->name, item.name);
    if (request->name.failed)
        return enso_error_no_memory(err, "a request");
    if (!enso_dataset_has_pictures(run->set))
        return wrap_text(run->result->model, request, err);
    request->content_type = enso_cli_picture_type(request->body.data, request->body.size);
    if (request->content_type == NULL)
        request->content_type = "application/octet-stream";
    return ENSO_OK;
}

/* {"data":[{"label":...}]} to a class. */
static size_t class_of(const struct run *run, const json_t *tree)
{
    const json_t *row = json_array_get(json_object_get(tree, "data"), 0);
    const char *label = json_string_value(json_object_get(row, "label"));

    return label != NULL ? enso_labels_find_exact(&run->result->labels, label) : ENSO_LABEL_UNKNOWN;
}

/* An answer of another status than 2xx: is it about this item alone? */
static enum enso_status take_refusal(struct run *run, const struct enso_ask_answer *answer,
                                     const json_t *tree, struct enso_error *err)
{
    struct enso_error why = {0};

    if (answer->code == 0)
        (void)enso_error_set(&why, ENSO_DEADLINE, "no answer within %.3g s", /* told below */
                             (double)run->spec->timeout_ns * 1e-9);
    else
        (void)enso_client_refused(answer->code, tree, &why);
    if (answer->code == 401 || answer->code == 403 || answer->code == 404 || answer->code == 405)
        return enso_error_set(err, ENSO_UNAVAILABLE, "%s", why.message);
    note_problem(run->result, answer->request->name.data, why.message);
    return ENSO_OK;
}

static enum enso_status on_answer(void *user, const struct enso_ask_answer *answer,
                                  struct enso_error *err)
{
    static const struct enso_json_limits limits = {64, 1000000};
    struct run *run = user;
    struct enso_eval_result *result = run->result;
    json_t *tree = NULL;
    enum enso_status st = ENSO_OK;
    size_t class;

    if (answer->size != 0 &&
        enso_json_parse(answer->body, answer->size, &limits, &tree, NULL) == ENSO_NO_MEMORY)
        return enso_error_no_memory(err, "an answer");
    class = class_of(run, tree);
    if (answer->code < 200 || answer->code > 299) {
        st = take_refusal(run, answer, tree, err);
    } else if (class == ENSO_LABEL_UNKNOWN) {
        note_problem(result, answer->request->name.data,
                     "the answer names no label of the model; is the server an ensod?");
    } else {
        enso_confusion_add(&result->confusion, answer->request->tag, class);
        enso_latency_record(&result->latency, answer->latency_ns);
        result->answered++;
    }
    json_decref(tree);
    return st;
}

static void on_tick(void *user, uint64_t now_ns)
{
    struct run *run = user;

    enso_progress_show(&run->progress, run->result->answered + run->result->failed, "", now_ns);
}

enum enso_status enso_eval_run(const struct enso_eval_spec *spec, struct enso_eval_result *result,
                               struct enso_error *err)
{
    struct run run = {.spec = spec, .result = result, .n_items = result->items};
    struct enso_ask_spec ask = {.url = spec->url,
                                .unix_path = spec->unix_path,
                                .server = spec->server,
                                .n_in_flight = result->concurrency,
                                .timeout_ns = spec->timeout_ns,
                                .stop = spec->stop,
                                .user = &run,
                                .next = on_next,
                                .answered = on_answer,
                                .tick = on_tick};
    uint64_t begin_ns = enso_clock_now_ns();
    enum enso_status st = enso_dataset_open(&spec->set, &run.set, err);

    if (st != ENSO_OK)
        return st;
    if (spec->sample != 0)
        result->items = ENSO_MIN(result->items, spec->sample);
    enso_progress_init(&run.progress, result->items, begin_ns);
    st = enso_ask_many(&ask, err);
    result->seconds = (double)(enso_clock_now_ns() - begin_ns) * 1e-9;
    enso_progress_done(&run.progress);
    enso_dataset_close(run.set);
    return st;
}
