/* SPDX-License-Identifier: Apache-2.0
 *
 * enso eval: how well does a served model do on a labelled set? This file is the command line, the
 * questions to the server about the model, and the end; the work is in cli/eval_run.h.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/eval_report.h"
#include "cli/eval_run.h"
#include "cli/options.h"

#define MOST_IN_FLIGHT 1000
#define PLAIN_COLUMNS 120 /* where nobody says how wide the output is */

enum key {
    KEY_SERVER = 1,
    KEY_CONCURRENCY,
    KEY_SAMPLE,
    KEY_TEXT_COLUMN,
    KEY_LABEL_COLUMN,
    KEY_LABELS,
    KEY_MAP,
    KEY_TIMEOUT,
    KEY_JSON
};

static const struct enso_cli_option options[] = {
    {KEY_SERVER, "server", "URL", "Server to ask: http://HOST:PORT, HOST:PORT or unix:PATH."},
    {KEY_CONCURRENCY, "concurrency", "N", "Most requests in flight, one item each (default 32)."},
    {KEY_SAMPLE, "sample", "N", "Only N items, spread evenly over the set, always the same ones."},
    {KEY_TEXT_COLUMN, "text-column", "C",
     "Column of the texts in a CSV: its name, or a number "
     "from 1."},
    {KEY_LABEL_COLUMN, "label-column", "C", "Column of the labels."},
    {KEY_LABELS, "labels", "FILE", "Labels of an idx set (default: found beside it by name)."},
    {KEY_MAP, "map", "FILE",
     "CSV of lines 'label of the set,label of the model'; with nothing "
     "behind the comma such items are left out."},
    {KEY_TIMEOUT, "timeout", "TIME",
     "Longest wait for one item's answer, a busy server's waits "
     "included (default 60s)."},
    {KEY_JSON, "json", NULL, "The report as one JSON object."},
    {0}};

static const struct enso_cli_command command = {
    .name = "eval",
    .arguments = "MODEL DATA",
    .description =
        "Accuracy, precision, recall, F1 and confusion of a served model on a labelled set, one\n"
        "request per item. DATA is a .csv or .tsv of texts and labels, a folder with a folder of\n"
        "pictures for each label, a .tar, .tar.gz or .zip of such, or the pictures of an idx set\n"
        "(...-images-idx3-ubyte.gz). Labels mean those of the model by name, else by number from "
        "0.",
    .options = options,
};

struct eval {
    const char *map;
    int64_t concurrency, sample;
    bool json;
    struct enso_eval_spec spec;
    struct enso_server_address address;
    struct enso_buffer url;
    json_t *facts; /* of the model */
    struct enso_eval_result result;
};

static volatile sig_atomic_t stop;

static void on_interrupt(int signal_number)
{
    stop = 1;
    (void)signal(signal_number, SIG_DFL); /* the second one ends it at once */
}

/* --- the command line --------------------------------------------------------------------------
 */

static enum enso_status take_option(struct eval *e, int key, const char *value,
                                    struct enso_error *err)
{
    enum enso_status st = ENSO_OK;

    switch (key) {
    case KEY_SERVER:
        e->spec.server = value;
        break;
    case KEY_CONCURRENCY:
        return enso_cli_parse_count("concurrency", value, 1, MOST_IN_FLIGHT, &e->concurrency, err);
    case KEY_SAMPLE:
        return enso_cli_parse_count("sample", value, 1, INT64_MAX, &e->sample, err);
    case KEY_TEXT_COLUMN:
        e->spec.set.text_column = value;
        break;
    case KEY_LABEL_COLUMN:
        e->spec.set.label_column = value;
        break;
    case KEY_LABELS:
        e->spec.set.labels_path = value;
        break;
    case KEY_MAP:
        e->map = value;
        break;
    case KEY_TIMEOUT:
        st = enso_cli_parse_seconds("timeout", value, &e->spec.timeout_ns, err);
        if (st == ENSO_OK && e->spec.timeout_ns < ENSO_NS_PER_MS)
            st = enso_cli_usage(err, "--timeout: at least 1ms");
        break;
    default:
        e->json = true;
    }
    return st;
}

static int parse(struct eval *e, int argc, char *argv[], struct enso_error *err)
{
    struct enso_cli_line line;
    const char *value;
    int key;

    enso_cli_line_init(&line, &command, argc, argv);
    while ((key = enso_cli_line_next(&line, &value, err)) > 0) {
        if (take_option(e, key, value, err) != ENSO_OK)
            return ENSO_CLI_KEY_ERROR;
    }
    if (key != ENSO_CLI_KEY_END)
        return key;
    if (line.n_arguments != 2) {
        (void)enso_cli_usage(err, "name a model and a labelled set: enso eval MODEL DATA");
        return ENSO_CLI_KEY_ERROR;
    }
    if (argv[0][0] == '\0') {
        (void)enso_cli_usage(err, "the model's name is empty; 'enso models' lists what there is");
        return ENSO_CLI_KEY_ERROR;
    }
    e->result.model = argv[0];
    e->result.set = e->spec.set.path = argv[1];
    e->result.concurrency = (unsigned)e->concurrency;
    e->spec.sample = (uint64_t)e->sample;
    return key;
}

/* --- the model ---------------------------------------------------------------------------------
 */

/* What the server knows about the model. */
static enum enso_status ask_facts(struct eval *e, struct enso_error *err)
{
    struct enso_buffer path = ENSO_BUFFER_INIT;
    struct enso_client *client = NULL;
    enum enso_status st = enso_client_create(e->spec.server, &client, err);

    enso_buffer_puts(&path, "/v1/models/");
    enso_buffer_put_url(&path, e->result.model, 1);
    if (st == ENSO_OK && path.failed)
        st = enso_error_no_memory(err, "the request");
    if (st == ENSO_OK)
        st = enso_client_call(
            client,
            &(struct enso_client_request){.path = path.data, .timeout_ns = e->spec.timeout_ns},
            &e->facts, err);
    enso_client_destroy(client);
    enso_buffer_done(&path);
    return st;
}

static enum enso_status take_facts(struct eval *e, struct enso_error *err)
{
    const char *state = json_string_value(json_object_get(e->facts, "state"));
    const char *why = json_string_value(json_object_get(e->facts, "error"));
    json_t *names = NULL;
    enum enso_status st = ENSO_OK;

    e->result.task = json_string_value(json_object_get(e->facts, "task"));
    if (state != NULL && strcmp(state, "ready") != 0)
        st =
            enso_error_set(err, ENSO_UNAVAILABLE, "model '%.100s' is not ready: %.40s%s%s",
                           e->result.model, state, why != NULL ? ": " : "", why != NULL ? why : "");
    else if (e->result.task == NULL)
        st = enso_error_set(err, ENSO_UNAVAILABLE,
                            "%s tells no task of model '%.100s'; is it an ensod?", e->address.given,
                            e->result.model);
    if (st == ENSO_OK && strstr(e->result.task, "classification") == NULL)
        st = enso_error_set(err, ENSO_INVALID,
                            "model '%.100s' has the task '%.60s', which gives no labels",
                            e->result.model, e->result.task);
    if (st == ENSO_OK)
        st = enso_json_get_bool(e->facts, "", "multi_label", ENSO_JSON_OPTIONAL,
                                &e->result.multi_label, err);
    if (st == ENSO_OK)
        st = enso_json_get_array(e->facts, "", "labels", ENSO_JSON_REQUIRED, &names, err);
    return st == ENSO_OK ? enso_labels_init(&e->result.labels, names, err) : st;
}

/* Does the model take what the set holds? Then this is the URL to ask. */
static enum enso_status choose_url(struct eval *e, bool pictures, struct enso_error *err)
{
    bool takes_pictures = strcmp(e->result.task, "image-classification") == 0;

    if (pictures != takes_pictures)
        return enso_error_set(
            err, ENSO_INVALID,
            "'%.200s' is read as a set of %s, but model '%.100s' has the task '%.60s'",
            e->spec.set.path, pictures ? "pictures" : "texts", e->result.model, e->result.task);
    enso_buffer_puts(&e->url, e->address.url);
    enso_buffer_puts(&e->url, "/v1/classify");
    if (pictures) {
        enso_buffer_puts(&e->url, "?top_k=1&probs=false&model=");
        enso_buffer_put_url(&e->url, e->result.model, 0);
    }
    if (e->url.failed)
        return enso_error_no_memory(err, "the URL");
    e->spec.url = e->url.data;
    e->spec.unix_path = e->address.unix_path;
    return ENSO_OK;
}

static enum enso_status check_set(struct eval *e, struct enso_error *err)
{
    struct enso_dataset *set = NULL;
    enum enso_status st = enso_dataset_open(&e->spec.set, &set, err);

    if (st == ENSO_OK)
        st = choose_url(e, enso_dataset_has_pictures(set), err);
    enso_dataset_close(set);
    return st;
}

static enum enso_status prepare(struct eval *e, struct enso_error *err)
{
    enum enso_status st = enso_server_address_init(&e->address, e->spec.server, err);

    if (st == ENSO_OK)
        st = ask_facts(e, err);
    if (st == ENSO_OK)
        st = take_facts(e, err);
    if (st == ENSO_OK && e->map != NULL)
        st = enso_labels_read_map(&e->result.labels, e->map, err);
    e->spec.set.labels = &e->result.labels;
    e->spec.server = e->address.given;
    e->spec.stop = &stop;
    if (st == ENSO_OK)
        st = check_set(e, err);
    if (st == ENSO_OK)
        st = enso_confusion_init(&e->result.confusion, e->result.labels.n, err);
    return st == ENSO_OK ? enso_latency_init(&e->result.latency, err) : st;
}

/* --- the end -----------------------------------------------------------------------------------
 */

static unsigned columns_of_output(void)
{
    struct winsize size;

    if (isatty(STDOUT_FILENO) == 1 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 &&
        size.ws_col != 0)
        return size.ws_col;
    return PLAIN_COLUMNS;
}

static enum enso_status print_report(const struct eval *e, struct enso_error *err)
{
    struct enso_buffer report = ENSO_BUFFER_INIT;
    enum enso_status st = ENSO_OK;

    if (e->json)
        enso_eval_report_json(&e->result, &report);
    else
        enso_eval_report_text(&e->result, columns_of_output(), &report);
    if (report.failed)
        st = enso_error_no_memory(err, "the report");
    else
        (void)fwrite(report.data, 1, report.size, stdout); /* enso_cli_finish sees failures */
    enso_buffer_done(&report);
    return st;
}

/* The run and its report; the exit status. */
static int evaluate(struct eval *e, struct enso_error *err)
{
    enum enso_status st;

    (void)signal(SIGINT, on_interrupt);
    st = enso_eval_scan(&e->spec, &e->result, err);
    if (st == ENSO_CANCELLED) {
        (void)fputs("enso eval: interrupted before anything was sent\n", stderr);
        return ENSO_EXIT_INTERRUPTED;
    }
    if (st == ENSO_OK)
        st = enso_eval_run(&e->spec, &e->result, err);
    (void)signal(SIGINT, SIG_DFL);
    e->result.interrupted = st == ENSO_CANCELLED;
    if (st == ENSO_OK || st == ENSO_CANCELLED)
        st = print_report(e, err);
    if (st != ENSO_OK)
        return enso_cli_fail(command.name, err);
    if (e->result.interrupted) {
        (void)fflush(stdout); /* enso_cli_finish sees failures */
        (void)fprintf(stderr, "enso eval: interrupted after %llu of %llu items\n",
                      (unsigned long long)(e->result.answered + e->result.failed),
                      (unsigned long long)e->result.items);
        return ENSO_EXIT_INTERRUPTED;
    }
    if (e->result.answered == 0) {
        (void)fflush(stdout); /* so too */
        (void)fputs("enso eval: not one item was answered with a label\n", stderr);
        return ENSO_EXIT_FAILURE;
    }
    return ENSO_EXIT_OK;
}

static void done(struct eval *e)
{
    enso_latency_done(&e->result.latency);
    enso_confusion_done(&e->result.confusion);
    enso_labels_done(&e->result.labels);
    json_decref(e->facts);
    enso_buffer_done(&e->url);
    enso_server_address_done(&e->address);
    enso_free(e);
}

int enso_cli_eval(int argc, char *argv[])
{
    struct eval *e = enso_alloc_zero(1, sizeof *e);
    struct enso_error err = {0};
    int key, status = ENSO_EXIT_OK;

    if (e == NULL) {
        (void)enso_error_no_memory(&err, "the evaluation"); /* told next */
        return enso_cli_fail(command.name, &err);
    }
    e->concurrency = 32;
    e->spec.timeout_ns = 60 * ENSO_NS_PER_S;
    key = parse(e, argc, argv, &err);
    if (key == ENSO_CLI_KEY_ERROR || (key == ENSO_CLI_KEY_END && prepare(e, &err) != ENSO_OK))
        status = enso_cli_fail(command.name, &err);
    else if (key == ENSO_CLI_KEY_END)
        status = evaluate(e, &err);
    done(e);
    return status;
}
