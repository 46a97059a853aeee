/* SPDX-License-Identifier: Apache-2.0
 *
 * How one value is read, written and described: see options.h.
 */
#include "config/options.h"

#include <assert.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/number.h"
#include "config/config.h"
#include "config/config_internal.h"

static bool parse_bool(const char *text, bool *ret)
{
    static const char *const yes[] = {"yes", "true", "on"}, *const no[] = {"no", "false", "off"};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(yes); i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *ret = strcmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

#define LONGEST_TEXT 4096 /* as long as a path may be; dumped lines must fit the file's limit */

static enum enso_status check_text(const struct enso_option *o, const char *text,
                                   struct enso_error *err)
{
    size_t n = strlen(text);

    if (n > LONGEST_TEXT)
        return enso_error_set(err, ENSO_INVALID, "the value has %zu bytes; at most %d are allowed",
                              n, LONGEST_TEXT);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7F)
            return enso_error_set(err, ENSO_INVALID, "the value holds a control character");
        if (text[i] == ';' && (i == 0 || text[i - 1] == ' '))
            return enso_error_set(err, ENSO_INVALID,
                                  "the value holds a ';' after a blank, which "
                                  "begins a comment in the file");
    }
    return o->check != NULL ? o->check(text, err) : ENSO_OK;
}

static enum enso_status set_string(const struct enso_option *o, const char **place,
                                   struct enso_arena *arena, const char *text,
                                   struct enso_error *err)
{
    enum enso_status st = check_text(o, text, err);
    char *copy;

    if (st != ENSO_OK)
        return st;
    copy = enso_arena_strndup(arena, text, strlen(text));
    if (copy == NULL)
        return enso_error_no_memory(err, "the configuration");
    *place = copy;
    return ENSO_OK;
}

static size_t count_items(const char *text)
{
    size_t n = 1;

    for (; *text != '\0'; text++)
        n += *text == ',';
    return n;
}

static enum enso_status set_list(const struct enso_option *o, struct enso_config_list *list,
                                 struct enso_arena *arena, const char *text, bool add,
                                 struct enso_error *err)
{
    struct enso_config_list fresh = {0};
    size_t n_old = add ? list->n : 0, n_new = count_items(text);

    if (text[strspn(text, " \t")] == '\0') { /* an empty list */
        if (!add)
            *list = fresh;
        return ENSO_OK;
    }
    if (n_new > o->max || n_old > o->max - n_new)
        return enso_error_set(err, ENSO_INVALID, "more than %llu items",
                              (unsigned long long)o->max);
    fresh.items = enso_arena_alloc_zero(arena, n_old + n_new, sizeof *fresh.items);
    if (fresh.items == NULL)
        return enso_error_no_memory(err, "the configuration");
    if (n_old != 0)
        memcpy(fresh.items, list->items, n_old * sizeof *fresh.items);
    fresh.n = n_old;
    while (fresh.n < n_old + n_new) {
        size_t size, comma;
        char *item;

        text += strspn(text, " \t");
        comma = strcspn(text, ",");
        size = comma;
        while (size > 0 && (text[size - 1] == ' ' || text[size - 1] == '\t'))
            size--;
        if (size == 0)
            return enso_error_set(err, ENSO_INVALID, "an item of the list is empty");
        item = enso_arena_strndup(arena, text, size);
        if (item == NULL)
            return enso_error_no_memory(err, "the configuration");

        enum enso_status st = check_text(o, item, err);

        if (st != ENSO_OK)
            return st;
        fresh.items[fresh.n++] = item;
        text += comma + (text[comma] == ',');
    }
    *list = fresh;
    return ENSO_OK;
}

static enum enso_status set_enum(const struct enso_option *o, int *place, const char *text,
                                 struct enso_error *err)
{
    const char *names[16];
    struct enso_buffer b = ENSO_BUFFER_INIT;
    size_t n = 0;

    for (const struct enso_option_choice *c = o->choices; c->name != NULL; c++) {
        if (strcmp(c->name, text) == 0) {
            *place = c->value;
            return ENSO_OK;
        }
        assert(n < ENSO_ARRAY_SIZE(names));
        names[n++] = c->name;
    }
    enso_option_describe(o, &b);

    const char *nearest = enso_option_nearest(text, names, n);
    enum enso_status st;

    if (b.failed)
        st = enso_error_no_memory(err, "the configuration");
    else
        st = enso_error_set(err, ENSO_INVALID, "'%.60s' is not one of %s%s%s%s", text, b.data,
                            nearest != NULL ? "; did you mean '" : "",
                            nearest != NULL ? nearest : "", nearest != NULL ? "'?" : "");
    enso_buffer_done(&b);
    return st;
}

enum enso_status enso_option_set(const struct enso_option *o, void *base, struct enso_arena *arena,
                                 const char *text, bool add, struct enso_error *err)
{
    void *place = (char *)base + o->offset;
    enum enso_status st = ENSO_OK;
    uint64_t number = 0;
    int64_t value = 0;

    switch (o->type) {
    case ENSO_OPTION_BOOL:
        if (!parse_bool(text, place))
            return enso_error_set(err, ENSO_INVALID, "'%.60s' is neither yes nor no", text);
        return ENSO_OK;
    case ENSO_OPTION_INT:
        return enso_number_parse_i64(text, (int64_t)o->min, (int64_t)o->max, place, err);
    case ENSO_OPTION_SIZE:
        return enso_number_parse_size(text, o->min, o->max, place, err);
    case ENSO_OPTION_DURATION:
        return enso_number_parse_duration(text, o->min, o->max, place, err);
    case ENSO_OPTION_MS:
        st = enso_number_parse_i64(text, (int64_t)(o->min / ENSO_NS_PER_MS),
                                   (int64_t)(o->max / ENSO_NS_PER_MS), &value, err);
        if (st != ENSO_OK)
            return st;
        number = (uint64_t)value * ENSO_NS_PER_MS;
        memcpy(place, &number, sizeof number);
        return ENSO_OK;
    case ENSO_OPTION_STRING:
        return set_string(o, place, arena, text, err);
    case ENSO_OPTION_LIST:
        return set_list(o, place, arena, text, add, err);
    case ENSO_OPTION_ENUM:
        return set_enum(o, place, text, err);
    }
    return ENSO_OK;
}

void enso_option_format(const struct enso_option *o, const void *base, struct enso_buffer *b)
{
    const void *place = (const char *)base + o->offset;
    char text[32];

    switch (o->type) {
    case ENSO_OPTION_BOOL:
        enso_buffer_puts(b, *(const bool *)place ? "yes" : "no");
        break;
    case ENSO_OPTION_INT:
        enso_buffer_put_i64(b, *(const int64_t *)place);
        break;
    case ENSO_OPTION_SIZE:
        enso_number_format_size(*(const uint64_t *)place, text);
        enso_buffer_puts(b, text);
        break;
    case ENSO_OPTION_DURATION:
        enso_number_format_duration(*(const uint64_t *)place, text);
        enso_buffer_puts(b, text);
        break;
    case ENSO_OPTION_MS:
        enso_buffer_put_u64(b, *(const uint64_t *)place / ENSO_NS_PER_MS);
        break;
    case ENSO_OPTION_STRING:
        if (*(const char *const *)place != NULL)
            enso_buffer_puts(b, *(const char *const *)place);
        break;
    case ENSO_OPTION_LIST: {
        const struct enso_config_list *list = place;

        for (size_t i = 0; i < list->n; i++) {
            enso_buffer_puts(b, i != 0 ? ", " : "");
            enso_buffer_puts(b, list->items[i]);
        }
        break;
    }
    case ENSO_OPTION_ENUM:
        for (const struct enso_option_choice *c = o->choices; c->name != NULL; c++) {
            if (c->value == *(const int *)place)
                enso_buffer_puts(b, c->name);
        }
        break;
    }
}

void enso_option_describe(const struct enso_option *o, struct enso_buffer *b)
{
    char low[32], high[32];

    switch (o->type) {
    case ENSO_OPTION_BOOL:
        enso_buffer_puts(b, "yes or no");
        break;
    case ENSO_OPTION_INT:
        enso_buffer_printf(b, "%llu to %llu", (unsigned long long)o->min,
                           (unsigned long long)o->max);
        break;
    case ENSO_OPTION_SIZE:
        enso_number_format_size(o->min, low);
        enso_number_format_size(o->max, high);
        enso_buffer_printf(b, "size, %s to %s", low, high);
        break;
    case ENSO_OPTION_DURATION:
        enso_number_format_duration(o->min, low);
        enso_number_format_duration(o->max, high);
        enso_buffer_printf(b, "duration, %s to %s", low, high);
        break;
    case ENSO_OPTION_MS:
        enso_buffer_printf(b, "milliseconds, %llu to %llu",
                           (unsigned long long)(o->min / ENSO_NS_PER_MS),
                           (unsigned long long)(o->max / ENSO_NS_PER_MS));
        break;
    case ENSO_OPTION_STRING:
        enso_buffer_puts(b, o->check == enso__check_device ? "auto, cpu or cuda:N[,cuda:M...]"
                            : o->check == enso__check_model_device ? "cpu or cuda:N[,cuda:M...]"
                            : o->check == enso__check_gpu_memory   ? "1% to 100%, or a size"
                                                                   : "text");
        break;
    case ENSO_OPTION_LIST:
        enso_buffer_puts(b, "list, separated by commas");
        break;
    case ENSO_OPTION_ENUM:
        for (const struct enso_option_choice *c = o->choices; c->name != NULL; c++) {
            if (c != o->choices)
                enso_buffer_puts(b, c[1].name != NULL ? ", " : " or ");
            enso_buffer_puts(b, c->name);
        }
        break;
    }
}
