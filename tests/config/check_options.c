/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of the table of options: it is well formed, each default is valid, values survive being
 * written and read, and the committed documents are what the table says.
 */
#include "config/options.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "config/config.h"
#include "tests/support/support.h"

/* Zeroed storage that any row may write to. */
union storage {
    struct enso_config config;
    struct enso_config_model model;
};

START_TEST(test_options_table_is_well_formed)
{
    for (size_t i = 0; i < enso_n_options; i++) {
        const struct enso_option *o = &enso_options[i];
        bool is_model = strcmp(o->section, "model") == 0, known = false;

        for (size_t s = 0; s < enso_n_option_sections; s++)
            known = known || strcmp(enso_option_sections[s].name, o->section) == 0;
        ck_assert_msg(known, "%s", o->section);
        ck_assert_ptr_eq(enso_option_find(o->section, o->name), o);
        ck_assert_uint_le(strlen(o->name), 48); /* the INI reader's limit */
        ck_assert_msg((o->default_text == NULL) == is_model, "%s", o->name);
        ck_assert_msg((o->environment == NULL) == is_model, "%s", o->name);
        ck_assert(o->type != ENSO_OPTION_ENUM || o->choices != NULL);
        ck_assert_ptr_nonnull(strchr(".)", o->help[strlen(o->help) - 1]));
        if (o->environment == NULL)
            continue;
        ck_assert_int_eq(strncmp(o->environment, "ENSOD_", 6), 0);
        /* Kubernetes sets these for a service called ensod */
        ck_assert_int_ne(strncmp(o->environment, "ENSOD_PORT", 10), 0);
        ck_assert_int_ne(strncmp(o->environment, "ENSOD_SERVICE", 13), 0);
        for (size_t j = 0; j < i; j++)
            ck_assert(enso_options[j].environment == NULL ||
                      strcmp(enso_options[j].environment, o->environment) != 0);
    }
    ck_assert_ptr_null(enso_option_find("server", "nonsense"));
}
END_TEST

START_TEST(test_options_defaults_survive)
{
    for (size_t i = 0; i < enso_n_options; i++) {
        const struct enso_option *o = &enso_options[i];
        struct enso_arena arena = ENSO_ARENA_INIT;
        struct enso_error err = {0};
        static union storage a, b;
        struct enso_buffer first = ENSO_BUFFER_INIT, second = ENSO_BUFFER_INIT;

        if (o->default_text == NULL)
            continue;
        memset(&a, 0, sizeof a);
        memset(&b, 0, sizeof b);
        ENSO_TEST_OK(enso_option_set(o, &a, &arena, o->default_text, false, &err), &err);
        enso_buffer_puts(&first, "");
        enso_buffer_puts(&second, "");
        enso_option_format(o, &a, &first);
        ENSO_TEST_OK(enso_option_set(o, &b, &arena, first.data, false, &err), &err);
        enso_option_format(o, &b, &second);
        ck_assert_str_eq(first.data, second.data);
        enso_buffer_done(&first);
        enso_buffer_done(&second);
        enso_arena_done(&arena);
    }
}
END_TEST

START_TEST(test_options_ranges)
{
    static union storage base;
    struct enso_arena arena = ENSO_ARENA_INIT;

    for (size_t i = 0; i < enso_n_options; i++) {
        const struct enso_option *o = &enso_options[i];
        static const char *const nonsense[] = {"",         "-1",  "99999999999999999999999",
                                               "\xC3\xA9", "1 2", "nan"};

        if (o->type == ENSO_OPTION_STRING || o->type == ENSO_OPTION_LIST)
            continue;
        for (size_t k = 0; k < ENSO_ARRAY_SIZE(nonsense); k++) {
            struct enso_error err = {0};

            ck_assert_msg(enso_option_set(o, &base, &arena, nonsense[k], false, &err) ==
                              ENSO_INVALID,
                          "%s = '%s'", o->name, nonsense[k]);
            ck_assert_str_ne(err.message, "");
        }
        ck_assert(o->type == ENSO_OPTION_BOOL || o->type == ENSO_OPTION_ENUM || o->min < o->max);
    }
    enso_arena_done(&arena);
}
END_TEST

START_TEST(test_options_lists)
{
    const struct enso_option *o = enso_option_find("server", "models");
    static union storage base;
    struct enso_arena arena = ENSO_ARENA_INIT;
    struct enso_error err = {0};
    struct enso_config_list *list = &base.config.models;

    ENSO_TEST_OK(enso_option_set(o, &base, &arena, " a ,b b,  c", false, &err), &err);
    ck_assert_uint_eq(list->n, 3);
    ck_assert_str_eq(list->items[0], "a");
    ck_assert_str_eq(list->items[1], "b b");
    ck_assert_str_eq(list->items[2], "c");
    ENSO_TEST_OK(enso_option_set(o, &base, &arena, "d", true, &err), &err);
    ck_assert_uint_eq(list->n, 4);
    ck_assert_str_eq(list->items[3], "d");
    ENSO_TEST_OK(enso_option_set(o, &base, &arena, "", true, &err), &err);
    ck_assert_uint_eq(list->n, 4);
    ck_assert_int_eq(enso_option_set(o, &base, &arena, "a,,b", false, &err), ENSO_INVALID);
    enso_error_clear(&err);
    ck_assert_int_eq(enso_option_set(o, &base, &arena, "a,", false, &err), ENSO_INVALID);
    enso_error_clear(&err);
    ck_assert_uint_eq(list->n, 4); /* untouched by failures */
    ENSO_TEST_OK(enso_option_set(o, &base, &arena, " ", false, &err), &err);
    ck_assert_uint_eq(list->n, 0);

    static char many[2100]; /* more than 1000 items */
    memset(many, ',', sizeof many - 1);
    for (size_t i = 0; i < sizeof many - 1; i += 2)
        many[i] = 'x';
    ck_assert_int_eq(enso_option_set(o, &base, &arena, many, false, &err), ENSO_INVALID);
    ENSO_TEST_CONTAINS(err.message, "more than 1000 items");
    enso_arena_done(&arena);
}
END_TEST

START_TEST(test_options_nearest)
{
    static const char *const names[] = {"max_body", "max_inputs", "listen", "--threads"};
    static const struct {
        const char *name, *nearest;
    } cases[] = {
        {"max_bdoy", "max_body"},
        {"lisen", "listen"},
        {"Listen", "listen"},
        {"--thread", "--threads"},
        {"max_input", "max_inputs"},
        {"zzzzzz", NULL},
        {"", NULL},
        {"a_name_that_is_far_longer_than_sixty_four_bytes_and_therefore_not_looked_at", NULL},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        const char *found = enso_option_nearest(cases[i].name, names, ENSO_ARRAY_SIZE(names));

        if (cases[i].nearest == NULL)
            ck_assert_ptr_null(found);
        else
            ck_assert_pstr_eq(found, cases[i].nearest);
    }
}
END_TEST

static void check_document(const char *relative, void (*write)(struct enso_buffer *))
{
    struct enso_buffer b = ENSO_BUFFER_INIT;
    char *path = enso_test_source(relative), *text = enso_test_read_file(path, NULL);

    write(&b);
    ck_assert(!b.failed);
    ck_assert_msg(strcmp(text, b.data) == 0,
                  "%s is not what the table says; run 'make configuration-docs'", relative);
    enso_buffer_done(&b);
    free(text);
    free(path);
}

START_TEST(test_options_documents_are_current)
{
    check_document("docs/configuration.md", enso_options_write_markdown);
    check_document("docs/ensod.conf.example", enso_options_write_example);
    check_document("docs/ensod.conf.5", enso_options_write_man);
}
END_TEST

/* The example is valid as it is, and with every key switched on. */
START_TEST(test_options_example_is_valid)
{
    struct enso_buffer b = ENSO_BUFFER_INIT, on = ENSO_BUFFER_INIT;
    struct enso_config config;
    struct enso_error err = {0};

    enso_options_write_example(&b);
    ENSO_TEST_OK(enso_config_load_text("example", b.data, b.size, &config, &err), &err);
    enso_config_done(&config);
    for (char *line = b.data; *line != '\0';) {
        size_t n = strcspn(line, "\n");
        bool key = line[0] == '#' && line[1] != ' ';
        bool empty = line[n - (n != 0)] == '=';

        if (!empty) /* "#path =" has no value that would do */
            enso_buffer_append(&on, line + key, n - key);
        enso_buffer_putc(&on, '\n');
        line += n + (line[n] != '\0');
    }
    ENSO_TEST_OK(enso_config_load_text("example", on.data, on.size, &config, &err), &err);
    ck_assert_uint_eq(config.n_model_entries, 1);
    ck_assert_str_eq(config.model_entries[0].name, "my-model");
    enso_config_done(&config);
    enso_buffer_done(&b);
    enso_buffer_done(&on);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("config/options");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors");

    tcase_add_test(core, test_options_table_is_well_formed);
    tcase_add_test(core, test_options_defaults_survive);
    tcase_add_test(core, test_options_lists);
    tcase_add_test(core, test_options_nearest);
    tcase_add_test(core, test_options_documents_are_current);
    tcase_add_test(core, test_options_example_is_valid);
    tcase_add_test(errors, test_options_ranges);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    return s;
}

ENSO_TEST_MAIN(suite)
