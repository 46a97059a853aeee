/* SPDX-License-Identifier: Apache-2.0
 *
 * server/registry: which folders become models under which names, before anything is loaded.
 */
#include "server/registry.h"

#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "server/app.h"
#include "server/loop.h"

#define MOST 8

static char *top;
static struct enso_config config;
static struct enso_config_model models[MOST];
static struct enso_app app;
static struct enso_registry *registry;
static struct enso_error err;

static void setup(void)
{
    top = enso_test_make_dir();
    memset(&config, 0, sizeof config);
    memset(models, 0, sizeof models);
    config.model_entries = models;
    config.model_dir = "";
    memset(&err, 0, sizeof err);
    app = (struct enso_app){.config = &config, .loop = enso_loop_create(NULL)};
    registry = NULL;
    ck_assert_ptr_nonnull(app.loop);
}

static void teardown(void)
{
    enso_registry_destroy(registry);
    enso_loop_destroy(app.loop);
    for (size_t i = 0; i < config.n_model_entries; i++)
        free((char *)models[i].path);
    enso_test_remove_dir(top);
}

/* An empty file <top>/<path>, with the folders it needs. */
static void touch(const char *path)
{
    char *full = enso_test_format("%s/%s", top, path);

    for (char *p = full + strlen(top) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        (void)mkdir(full, 0755); /* may be there */
        *p = '/';
    }
    enso_test_write_file(full, "", 0);
    free(full);
}

/* One more entry of the configuration: a folder below top, or NULL for settings alone. */
static struct enso_config_model *configure(const char *path)
{
    struct enso_config_model *m = &models[config.n_model_entries++];

    if (path != NULL)
        m->path = enso_test_format("%s/%s", top, path);
    return m;
}

static void on_change(struct enso_app *a)
{
    (void)a;
}

static int create(void)
{
    struct enso_registry_options options = {.app = &app, .on_change = on_change};

    return enso_registry_create(&options, &registry, &err);
}

/* The ids there are, in order: "a b c". */
static void expect_ids(const char *expected)
{
    char ids[512] = "";

    ENSO_TEST_OK((enum enso_status)create(), &err);
    for (size_t i = 0; i < enso_registry_n_entries(registry); i++)
        (void)snprintf(ids + strlen(ids), sizeof ids - strlen(ids), "%s%s", i != 0 ? " " : "",
                       enso_registry_entry(registry, i)->id);
    ck_assert_str_eq(ids, expected);
}

static void expect_error(enum enso_status status, const char *word, const char *other)
{
    ck_assert_int_eq(create(), status);
    ENSO_TEST_CONTAINS(err.message, word);
    ENSO_TEST_CONTAINS(err.message, other);
}

START_TEST(test_registry_default_ids)
{
    static const struct {
        const char *path, *id;
    } rows[] = {{"/no/such/intents", "intents"},
                {"/no/such/intents/", "intents"},
                {"/no/such/intents//", "intents"},
                {"intents", "intents"},
                {"/no/such/net.onnx", "net"},
                {"/no/such/.onnx", ".onnx"},
                {"/", "/"},
                {"no/such/m.v2", "m.v2"}};
    char id[64], cwd[4096];

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(rows); i++) {
        enso_entries_default_id(rows[i].path, id, sizeof id);
        ck_assert_str_eq(id, rows[i].id);
    }
    ck_assert_ptr_nonnull(getcwd(cwd, sizeof cwd));
    enso_entries_default_id(".", id, sizeof id);
    ck_assert_str_eq(id, strrchr(cwd, '/') + 1);
    enso_entries_default_id("/no/such/intents", id, 4);
    ck_assert_str_eq(id, "int");
}
END_TEST

START_TEST(test_registry_kinds_of_folders)
{
    touch("a/config.json");
    touch("b/modules.json");
    touch("c/ensod.json");
    touch("d/x.onnx");
    touch("e/model-00001-of-00002.safetensors");
    touch("file.onnx");
    for (const char *p = "abcde"; *p != '\0'; p++)
        (void)configure((char[]){*p, '\0'});
    (void)configure("file.onnx");
    expect_ids("a b c d e file");
}
END_TEST

START_TEST(test_registry_folders_of_folders)
{
    touch("m/bank/intents/config.json");
    touch("m/bank/intents/inner/config.json"); /* part of a model, not one */
    touch("m/bank/tone/model.onnx");
    touch("m/clothes/ensod.json");
    touch("m/.hidden/config.json");
    touch("m/notes/readme.txt");
    (void)configure("m");
    expect_ids("bank/intents bank/tone clothes");
}
END_TEST

START_TEST(test_registry_loops_of_links_end)
{
    char *link_path = enso_test_format("%s/m/loop", top);

    touch("m/x/config.json");
    ck_assert_int_eq(symlink(".", link_path), 0);
    free(link_path);
    (void)configure("m");
    ENSO_TEST_OK((enum enso_status)create(), &err); /* under several ids, but it ends */
    ck_assert_uint_ge(enso_registry_n_entries(registry), 1);
    ck_assert_uint_le(enso_registry_n_entries(registry), 8);
}
END_TEST

START_TEST(test_registry_names_and_aliases)
{
    static const char *const others[] = {"old", "older"};
    const struct enso_entry *e;

    touch("a/config.json");
    touch("b/config.json");
    configure("a")->served_name = "first";
    (void)configure("b");
    models[2].name = "b";
    models[2].served_name = "second";
    models[2].aliases.items = (const char **)others;
    models[2].aliases.n = 2;
    models[2].required = true;
    models[2].batching.max_queue_items = 7;
    config.n_model_entries = 3;
    expect_ids("first second");
    e = enso_registry_entry_named(registry, "older", &err);
    ck_assert_ptr_eq(e, enso_registry_entry(registry, 1));
    ck_assert(e->required);
    ck_assert_int_eq(e->batching.max_queue_items, 7);
    ck_assert_ptr_null(enso_registry_entry_named(registry, "b", &err));
    ck_assert_int_eq(err.status, ENSO_NOT_FOUND);
    ENSO_TEST_CONTAINS(err.message, "there are: first, second");
    ck_assert_str_eq(err.param, "model");
    ck_assert_str_eq(err.code, "model_not_found");
}
END_TEST

START_TEST(test_registry_names_taken_twice)
{
    touch("a/m/config.json");
    touch("b/m/config.json");
    (void)configure("a/m");
    (void)configure("b/m");
    expect_error(ENSO_INVALID, "two models are called 'm'", "b/m");
}
END_TEST

START_TEST(test_registry_served_names_taken_twice)
{
    touch("a/config.json");
    touch("b/config.json");
    (void)configure("a");
    (void)configure("b");
    configure(NULL)->name = "b";
    models[2].served_name = "a";
    expect_error(ENSO_INVALID, "two models are called 'a'", "served_name");
}
END_TEST

START_TEST(test_registry_aliases_taken)
{
    static const char *const alias[] = {"a"};

    touch("a/config.json");
    touch("b/config.json");
    (void)configure("a");
    configure("b")->aliases.items = (const char **)alias;
    models[1].aliases.n = 1;
    expect_error(ENSO_INVALID, "alias 'a'", "taken");
}
END_TEST

START_TEST(test_registry_missing_folders)
{
    (void)configure("nope");
    expect_error(ENSO_NOT_FOUND, "nope", "No such file");
}
END_TEST

START_TEST(test_registry_folders_without_models)
{
    touch("m/readme.txt");
    (void)configure("m");
    expect_error(ENSO_NOT_FOUND, "holds no model", "/m'");
}
END_TEST

START_TEST(test_registry_sections_without_models)
{
    touch("a/config.json");
    (void)configure("a");
    configure(NULL)->name = "ghost";
    expect_error(ENSO_NOT_FOUND, "[model ghost]", "path");
}
END_TEST

START_TEST(test_registry_no_model_at_all)
{
    char *missing = enso_test_format("%s/none", top);

    config.model_dir = missing;
    expect_error(ENSO_NOT_FOUND, "no model was named", "ensod MODEL_DIR");
    free(missing);
}
END_TEST

/* Nothing is loaded yet. */
START_TEST(test_registry_finds_what_loads)
{
    struct enso_served *served;
    struct enso_readiness r;

    touch("a/config.json");
    touch("b/config.json");
    (void)configure("a");
    (void)configure("b");
    expect_ids("a b");
    ck_assert_int_eq(enso_registry_find(registry, "a", 0, &served, &err), ENSO_UNAVAILABLE);
    ENSO_TEST_CONTAINS(err.message, "model 'a' is still loading");
    memset(&err, 0, sizeof err);
    ck_assert_int_eq(enso_registry_find(registry, NULL, 0, &served, &err), ENSO_UNAVAILABLE);
    memset(&err, 0, sizeof err);
    ck_assert_int_eq(enso_registry_find(registry, "c", 0, &served, &err), ENSO_NOT_FOUND);
    enso_registry_readiness(registry, &r);
    ck_assert_uint_eq(r.n_loading, 2);
    ck_assert_uint_eq(r.n_ready + r.n_failed, 0);
    ck_assert(!r.required_failed);
}
END_TEST

static enum enso_status create_once(void *context, struct enso_error *e)
{
    struct enso_registry_options options = {.app = &app, .on_change = on_change};
    struct enso_registry *r;
    int st = enso_registry_create(&options, &r, e);

    (void)context;
    if (st == ENSO_OK)
        enso_registry_destroy(r);
    (void)enso_loop_poll(app.loop); /* closing handles go */
    return (enum enso_status)st;
}

START_TEST(test_registry_oom)
{
    static const char *const alias[] = {"z"};

    touch("m/a/config.json");
    touch("m/b/config.json");
    (void)configure("m");
    configure(NULL)->name = "a";
    models[1].served_name = "first";
    models[1].aliases.items = (const char **)alias;
    models[1].aliases.n = 1;
    ck_assert_uint_ge(enso_test_oom_sweep(create_once, NULL), 5);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("server/registry");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors"),
          *oom = tcase_create("oom");

    tcase_add_checked_fixture(core, setup, teardown);
    tcase_add_checked_fixture(errors, setup, teardown);
    tcase_add_checked_fixture(oom, setup, teardown);
    tcase_add_test(core, test_registry_default_ids);
    tcase_add_test(core, test_registry_kinds_of_folders);
    tcase_add_test(core, test_registry_folders_of_folders);
    tcase_add_test(core, test_registry_loops_of_links_end);
    tcase_add_test(core, test_registry_names_and_aliases);
    tcase_add_test(core, test_registry_finds_what_loads);
    tcase_add_test(errors, test_registry_names_taken_twice);
    tcase_add_test(errors, test_registry_served_names_taken_twice);
    tcase_add_test(errors, test_registry_aliases_taken);
    tcase_add_test(errors, test_registry_missing_folders);
    tcase_add_test(errors, test_registry_folders_without_models);
    tcase_add_test(errors, test_registry_sections_without_models);
    tcase_add_test(errors, test_registry_no_model_at_all);
    tcase_add_test(oom, test_registry_oom);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, oom);
    return s;
}

ENSO_TEST_MAIN(suite)
