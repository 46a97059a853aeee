/* SPDX-License-Identifier: Apache-2.0
 *
 * INI text through libinih. The reader that feeds it does what libinih cannot: it counts lines,
 * refuses bytes and lines that libinih would cut or misread (it cuts section names and keys at 49
 * bytes, and lines at its buffer), and takes the section lines itself.
 */
#include "config/config_internal.h"

#include <ini.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "base/utf8.h"

#define LONGEST_LINE 8000
#define LINE_BUFFER (LONGEST_LINE + 16)
#define LONGEST_SECTION 255
#define LONGEST_KEY 48

struct parser {
    const char *name;
    const char *text;
    size_t size, at;
    unsigned line;
    char section[LONGEST_SECTION + 1];
    enso__ini_section_fn on_section;
    enso__ini_value_fn on_value;
    void *context;
    enum enso_status status;
    struct enso_error *err;
};

static pthread_mutex_t inih_mutex = PTHREAD_MUTEX_INITIALIZER;

static void fail(struct parser *p, const char *format, ...) ENSO_PRINTF(2, 3);
static void fail(struct parser *p, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    p->status = enso_error_vset(p->err, ENSO_INVALID, format, args);
    va_end(args);
    enso_error_prefix(p->err, "%s:%u: ", p->name, p->line);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* "[section]" with blanks around it and a comment behind; false when it is malformed. */
static bool take_section(struct parser *p, const char *line, size_t size)
{
    const char *end = memchr(line, ']', size);
    size_t first = 1, n;

    if (end == NULL)
        return false;
    for (const char *rest = end + 1; rest < line + size; rest++) {
        if (*rest == ';' || *rest == '#')
            break;
        if (!is_blank(*rest))
            return false;
    }
    n = (size_t)(end - line);
    while (first < n && is_blank(line[first]))
        first++;
    while (n > first && is_blank(line[n - 1]))
        n--;
    if (n == first || n - first > LONGEST_SECTION)
        return false;
    memcpy(p->section, line + first, n - first);
    p->section[n - first] = '\0';
    return true;
}

/* Check one line and copy it into str for libinih; section lines become empty ones. */
static bool check_line(struct parser *p, const char *line, size_t size, char *str)
{
    size_t bad, start = 0, key;

    if (size > LONGEST_LINE) {
        fail(p, "the line has %zu bytes; at most %d are allowed", size, LONGEST_LINE);
        return false;
    }
    if (!enso_utf8_valid(line, size, &bad) || memchr(line, '\0', size) != NULL) {
        fail(p, "the line is not UTF-8 text; is this a configuration file?");
        return false;
    }
    while (start < size && is_blank(line[start]))
        start++;
    str[0] = '\n';
    str[1] = '\0';
    if (start == size)
        return true;
    if (line[start] == '[') {
        if (!take_section(p, line + start, size - start)) {
            fail(p, "a section line must read [section]");
            return false;
        }
        p->status = p->on_section(p->context, p->section, p->line, p->err);
        return p->status == ENSO_OK;
    }
    if (line[start] != ';' && line[start] != '#') {
        for (key = start; key < size && line[key] != '=' && line[key] != ':'; key++)
            continue;
        while (key > start && is_blank(line[key - 1]))
            key--;
        if (key - start > LONGEST_KEY) {
            fail(p, "expected 'key = value', '[section]' or a comment");
            return false;
        }
    }
    memcpy(str, line, size);
    str[size] = '\n';
    str[size + 1] = '\0';
    return true;
}

/* libinih's fgets. */
static char *read_line(char *str, int num, void *stream)
{
    struct parser *p = stream;
    const char *line = p->text + p->at, *end;
    size_t size;

    if (p->status != ENSO_OK || p->at >= p->size || num < LINE_BUFFER)
        return NULL;
    p->line++;
    end = memchr(line, '\n', p->size - p->at);
    size = end != NULL ? (size_t)(end - line) : p->size - p->at;
    p->at += size + (end != NULL);
    while (size > 0 && line[size - 1] == '\r')
        size--;
    return check_line(p, line, size, str) ? str : NULL;
}

static int take_value(void *user, const char *section, const char *name, const char *value)
{
    struct parser *p = user;

    (void)section; /* libinih saw no section lines */
    p->status =
        p->on_value(p->context, p->section, name, value != NULL ? value : "", p->line, p->err);
    return p->status == ENSO_OK;
}

enum enso_status enso__ini_parse(const char *name, const char *text, size_t size,
                                 enso__ini_section_fn on_section, enso__ini_value_fn on_value,
                                 void *context, struct enso_error *err)
{
    static char hash_or_semicolon[] = ";#", semicolon[] = ";";
    struct parser p = {.name = name,
                       .text = text,
                       .size = size,
                       .on_section = on_section,
                       .on_value = on_value,
                       .context = context,
                       .err = err};
    int result;

    if (size > ENSO__INI_LARGEST_FILE)
        return enso_error_set(err, ENSO_TOO_LARGE,
                              "%s: %zu bytes; a configuration file has at "
                              "most 1 MiB",
                              name, size);
    if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) /* a byte order mark */
        p.at = 3;
    pthread_mutex_lock(&inih_mutex);
    ini_allow_multiline = false;
    ini_allow_bom = false;
    ini_start_comment_prefixes = hash_or_semicolon;
    ini_allow_inline_comments = true;
    ini_inline_comment_prefixes = semicolon;
    ini_use_stack = false;
    ini_allow_realloc = false;
    ini_max_line = LINE_BUFFER;
    ini_initial_alloc = LINE_BUFFER;
    ini_stop_on_first_error = true;
    result = ini_parse_stream(read_line, &p, take_value, &p);
    pthread_mutex_unlock(&inih_mutex);
    if (p.status != ENSO_OK)
        return p.status;
    if (result == -2)
        return enso_error_no_memory(err, "the configuration");
    if (result != 0)
        fail(&p, "expected 'key = value', '[section]' or a comment");
    return p.status;
}
