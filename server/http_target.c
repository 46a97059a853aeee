/* SPDX-License-Identifier: Apache-2.0
 *
 * Request targets: see http_target.h. The room holds, in this order: the array of segments, the
 * array of parameters, the escaped path with its NUL, the unescaped texts each with its NUL.
 */
#include "server/http_target.h"

#include <stdbool.h>
#include <string.h>

#include "base/utf8.h"

static size_t count(const char *s, size_t size, char c, size_t most)
{
    size_t n = 0;

    for (const char *end = s + size; n < most && (s = memchr(s, c, (size_t)(end - s))) != NULL; s++)
        n++;
    return n;
}

size_t enso_http_target_room(const char *target, size_t size)
{
    /* A separator more than allowed is found when parsing; texts grow by a NUL each at most. */
    size_t n_segments = count(target, size, '/', ENSO_HTTP_MAX_SEGMENTS);
    size_t n_params = count(target, size, '&', ENSO_HTTP_MAX_PARAMS) + 1;

    return n_segments * sizeof(struct enso_http_string) +
           n_params * sizeof(struct enso_http_param) + (size + 1) +
           (size + n_segments + 2 * n_params + 2);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Unescape size bytes at s to *out, which moves behind the NUL. */
static enum enso_status unescape(const char *s, size_t size, bool plus_is_blank, char **out,
                                 struct enso_http_string *ret, struct enso_error *err)
{
    char *start = *out, *d = *out;

    for (size_t i = 0; i < size; i++) {
        char c = s[i];

        if (c == '%') {
            int high = i + 1 < size ? hex_digit(s[i + 1]) : -1;
            int low = i + 2 < size ? hex_digit(s[i + 2]) : -1;

            if (high < 0 || low < 0)
                return enso_error_set(err, ENSO_INVALID,
                                      "the URL has a '%%' that two hexadecimal "
                                      "digits do not follow; write a plain '%%' as %%25");
            c = (char)(high * 16 + low);
            if (c == '\0')
                return enso_error_set(err, ENSO_INVALID,
                                      "the URL has a NUL byte (%%00); leave it out");
            i += 2;
        } else if (c == '+' && plus_is_blank) {
            c = ' ';
        }
        *d++ = c;
    }
    *d = '\0';
    *out = d + 1;
    ret->data = start;
    ret->size = (size_t)(d - start);
    if (!enso_utf8_valid(start, ret->size, NULL))
        return enso_error_set(err, ENSO_INVALID,
                              "the URL is not valid UTF-8 after its escapes are "
                              "resolved; escape each byte of its UTF-8 form");
    return ENSO_OK;
}

/* The part of a target that names the resource: absolute form loses scheme and authority. */
static enum enso_status to_origin_form(const char **target, size_t *size, struct enso_error *err)
{
    const char *s = *target, *end = s + *size;

    if (*size == 0)
        return enso_error_set(err, ENSO_INVALID,
                              "the request has no target; ask for a path such "
                              "as '/'");
    for (const char *p = s; p < end; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f || *p == '#')
            return enso_error_set(err, ENSO_INVALID,
                                  "the URL has a blank, a control character or "
                                  "a '#' at byte %zu; escape it as %%%02X",
                                  (size_t)(p - s), (unsigned)(unsigned char)*p);
    if (*s == '/' || (*size == 1 && *s == '*'))
        return ENSO_OK;
    for (const char *p = s; p + 2 < end; p++) {
        if (p[0] == ':' && p[1] == '/' && p[2] == '/' && p > s) {
            const char *slash = p + 3;

            while (slash < end && *slash != '/' && *slash != '?')
                slash++;
            *target = slash;
            *size = (size_t)(end - slash); /* may be empty: the path is '/' then */
            return ENSO_OK;
        }
    }
    return enso_error_set(err, ENSO_INVALID,
                          "the request's target is neither a path that begins "
                          "with '/' nor a URL");
}

static enum enso_status parse_path(const char *path, size_t size, struct enso_http_string *segments,
                                   char **out, size_t *ret_n, struct enso_error *err)
{
    size_t n = 0;

    if (size <= 1) /* "", "/" and "*" */
        return ENSO_OK;
    for (const char *s = path + 1, *end = path + size;; s++) {
        const char *slash = memchr(s, '/', (size_t)(end - s));
        size_t length = (size_t)((slash != NULL ? slash : end) - s);
        enum enso_status st;

        if (n == ENSO_HTTP_MAX_SEGMENTS)
            return enso_error_set(err, ENSO_TOO_LARGE, "the URL's path has more than %d segments",
                                  ENSO_HTTP_MAX_SEGMENTS);
        st = unescape(s, length, false, out, &segments[n], err);
        if (st != ENSO_OK)
            return st;
        *ret_n = ++n;
        if (slash == NULL)
            return ENSO_OK;
        s = slash;
    }
}

static enum enso_status parse_query(const char *s, const char *end, struct enso_http_param *params,
                                    char **out, size_t *ret_n, struct enso_error *err)
{
    size_t n = 0;

    while (s < end) {
        const char *amp = memchr(s, '&', (size_t)(end - s));
        const char *stop = amp != NULL ? amp : end;
        const char *equals = memchr(s, '=', (size_t)(stop - s));
        const char *name_end = equals != NULL ? equals : stop;
        enum enso_status st;

        if (stop > s) { /* "a=1&&b=2": nothing between */
            if (n == ENSO_HTTP_MAX_PARAMS)
                return enso_error_set(err, ENSO_TOO_LARGE,
                                      "the URL has more than %d query "
                                      "parameters",
                                      ENSO_HTTP_MAX_PARAMS);
            st = unescape(s, (size_t)(name_end - s), true, out, &params[n].name, err);
            if (st != ENSO_OK)
                return st;
            s = equals != NULL ? equals + 1 : stop;
            st = unescape(s, (size_t)(stop - s), true, out, &params[n].value, err);
            if (st != ENSO_OK)
                return st;
            *ret_n = ++n;
        }
        s = stop + 1;
    }
    return ENSO_OK;
}

enum enso_status enso_http_target_parse(const char *target, size_t size, void *room,
                                        struct enso_http_target *ret, struct enso_error *err)
{
    struct enso_http_string *segments = room;
    struct enso_http_param *params =
        (void *)(segments + count(target, size, '/', ENSO_HTTP_MAX_SEGMENTS));
    char *out = (char *)(params + count(target, size, '&', ENSO_HTTP_MAX_PARAMS) + 1);
    const char *question;
    enum enso_status st;

    *ret = (struct enso_http_target){.path = {"", 0}, .segments = segments, .params = params};
    st = to_origin_form(&target, &size, err);
    if (st != ENSO_OK)
        return st;
    question = memchr(target, '?', size);
    ret->path.data = out;
    ret->path.size = question != NULL ? (size_t)(question - target) : size;
    memcpy(out, target, ret->path.size);
    if (ret->path.size == 0) { /* "http://host" and "http://host?a" */
        out[0] = '/';
        ret->path.size = 1;
    }
    out[ret->path.size] = '\0';
    out += ret->path.size + 1;
    st = parse_path(ret->path.data, ret->path.size, segments, &out, &ret->n_segments, err);
    if (st == ENSO_OK && question != NULL)
        st = parse_query(question + 1, target + size, params, &out, &ret->n_params, err);
    if (st != ENSO_OK)
        ret->n_segments = ret->n_params = 0;
    return st;
}
