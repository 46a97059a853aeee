/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a Server-Timing header: see server_timing.h. Bytes of a stranger: nothing is read past
 * the end, numbers go through a copy of bounded size.
 */
#include "cli/server_timing.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/macros.h"

struct cursor {
    const char *at, *end;
};

static void skip_blanks(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t'))
        c->at++;
}

/* A token (name of a metric or of a parameter); its length. */
static size_t token(struct cursor *c, const char **ret)
{
    *ret = c->at;
    while (c->at<c->end && * c->at> ' ' && *c->at < 0x7F && strchr(";,=\"", *c->at) == NULL)
        c->at++;
    return (size_t)(c->at - *ret);
}

/* A token or a quoted string; *ret_size bytes without the quotes (escapes stay as they are). */
static const char *parameter_value(struct cursor *c, size_t *ret_size)
{
    const char *start;

    if (c->at == c->end || *c->at != '"') {
        *ret_size = token(c, &start);
        return start;
    }
    start = ++c->at;
    while (c->at < c->end && *c->at != '"')
        c->at += *c->at == '\\' && c->at + 1 < c->end ? 2 : 1;
    *ret_size = (size_t)(c->at - start);
    c->at += c->at < c->end;
    return start;
}

static bool parse_ms(const char *text, size_t size, double *ret)
{
    char copy[32], *end;

    if (size == 0 || size >= sizeof copy)
        return false;
    memcpy(copy, text, size);
    copy[size] = '\0';
    if (strspn(copy, "0123456789.eE+-") != size)
        return false;
    *ret = strtod(copy, &end);
    return *end == '\0' && isfinite(*ret) && *ret >= 0;
}

/* One "name;key=value;key=value"; true when it had a duration. */
static bool entry(struct cursor *c, struct enso_server_timing *ret)
{
    const char *name, *key, *value;
    size_t n = token(c, &name), key_size, value_size;
    bool has_duration = false;

    for (skip_blanks(c); c->at < c->end && *c->at == ';'; skip_blanks(c)) {
        c->at++;
        skip_blanks(c);
        key_size = token(c, &key);
        skip_blanks(c);
        if (c->at == c->end || *c->at != '=')
            continue;
        c->at++;
        skip_blanks(c);
        value = parameter_value(c, &value_size);
        if (!has_duration && key_size == 3 && strncasecmp(key, "dur", 3) == 0)
            has_duration = parse_ms(value, value_size, &ret->ms);
    }
    n = ENSO_MIN(n, sizeof ret->name - 1);
    memcpy(ret->name, name, n);
    ret->name[n] = '\0';
    return has_duration && n != 0;
}

size_t enso_server_timing_parse(const char *value, size_t size, struct enso_server_timing *ret,
                                size_t max)
{
    struct cursor c = {value, value + size};
    size_t n = 0;

    while (c.at < c.end && n < max) {
        skip_blanks(&c);
        n += entry(&c, &ret[n]);
        while (c.at < c.end && *c.at != ',') /* what was malformed */
            c.at++;
        c.at += c.at < c.end;
    }
    return n;
}
