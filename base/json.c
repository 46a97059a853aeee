/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON from outside: see json.h. The scan is not a parser: it only has to be right about strings
 * (where they begin and end), since brackets, commas and digits inside them do not count. Whatever
 * it misjudges in a malformed document lies behind the first syntax error, where Jansson stops.
 */
#include "base/json.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"

#define DEPTH_CEILING 1000 /* Jansson itself stops at 2048, counting otherwise */

/* Running out of memory in a parse. Jansson's lexer asserts that a character it puts back is the
 * last one it has kept, which fails when its buffer for the token could not grow: the process would
 * end. So a parse that runs out of memory is served from a spare until its input ends, which it
 * does when the lexer asks for more of it (at most 1024 bytes later; 75 KB of spare can be used up
 * until then, by "{},{},..."), and its result is thrown away. What could need more than the spare
 * is refused by the scan: numbers of more than LONGEST_WORD characters, and control characters
 * (which are put back, too) in strings of more than LONGEST_MARRED. */
#define SPARE_BYTES ((size_t)96 << 10)
#define LONGEST_WORD 1000
#define LONGEST_MARRED ((size_t)4 << 10)

static _Thread_local struct {
    bool active;
    bool failed; /* an allocation failed: Jansson's own verdict may be any */
    size_t used;
    _Alignas(16) char spare[SPARE_BYTES]; /* untouched, and so no memory, as a rule */
} parse;

static void *json_allocate(size_t size)
{
    void *p = enso_alloc(size);

    if (p != NULL || !parse.active)
        return p;
    parse.failed = true;
    if (size > SPARE_BYTES - parse.used)
        return NULL;
    p = parse.spare + parse.used;
    parse.used += ENSO_MIN((size + 15) & ~(size_t)15, SPARE_BYTES - parse.used);
    return p;
}

static void json_release(void *p)
{
    if ((char *)p < parse.spare || (char *)p >= parse.spare + SPARE_BYTES)
        enso_free(p);
}

static void init_once(void)
{
    json_set_alloc_funcs(json_allocate, json_release);
    json_object_seed(0);
}

void enso_json_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, init_once); /* cannot fail */
}

/* ------------------------------------------------------------------ the scan */

struct scan {
    const char *data;
    size_t size, at;
    size_t depth;
    bool after_string; /* the last token was a string: a colon makes it a key */
    struct enso_json_shape shape;
};

static enum enso_status bad_utf8(size_t at, struct enso_error *err)
{
    enso_error_code(err, "invalid_utf8");
    return enso_error_set(err, ENSO_INVALID,
                          "JSON must be UTF-8, but byte %zu is not part of a "
                          "valid character; re-encode the text as UTF-8",
                          at);
}

static enum enso_status bad_control(size_t at, struct enso_error *err)
{
    enso_error_code(err, "invalid_json");
    return enso_error_set(err, ENSO_INVALID,
                          "not valid JSON: a control character in a string, at byte %zu; write it "
                          "as \\uXXXX",
                          at);
}

/* From behind the opening quote to behind the closing one, or to the end. */
static enum enso_status scan_string(struct scan *s, struct enso_error *err)
{
    const char *data = s->data;
    size_t i = s->at, size = s->size, control = SIZE_MAX;

    while (i < size) {
        unsigned char c = (unsigned char)data[i];

        if (c == '"') {
            i++;
            break;
        }
        if (c == '\\') {
            i += 2;
        } else if (c < 0x80) {
            if (c < 0x20 && control == SIZE_MAX)
                control = i;
            i++;
        } else {
            size_t n = enso_utf8_length(data + i, size - i);

            if (n == 0)
                return bad_utf8(i, err);
            i += n;
        }
    }
    if (control != SIZE_MAX && i - s->at > LONGEST_MARRED)
        return bad_control(control, err);
    /* behind a backslash may stand the first byte of a character: its other bytes were then looked
     * at as strays; and a backslash may have been the last byte */
    s->at = ENSO_MIN(i, size);
    return ENSO_OK;
}

static bool is_number_byte(char c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_word(const char *p, size_t n, const char *word)
{
    return strlen(word) == n && memcmp(p, word, n) == 0;
}

/* A number or a literal, which starts at s->at. */
static enum enso_status scan_word(struct scan *s, struct enso_error *err)
{
    size_t start = s->at, i = start;

    if (is_number_byte(s->data[i]) && !is_letter(s->data[i])) {
        while (i < s->size && is_number_byte(s->data[i]))
            i++;
    }

    size_t letters = i;

    while (i < s->size && is_letter(s->data[i]))
        i++;
    s->at = i;
    if (i - start > LONGEST_WORD) {
        enso_error_code(err, "invalid_json");
        return enso_error_set(err, ENSO_INVALID,
                              "not valid JSON: a number or word of %zu characters, at byte %zu; "
                              "%d are enough",
                              i - start, start, LONGEST_WORD);
    }
    if (i - letters >= 3 && (is_word(s->data + letters, i - letters, "NaN") ||
                             is_word(s->data + letters, i - letters, "nan") ||
                             is_word(s->data + letters, i - letters, "Infinity") ||
                             is_word(s->data + letters, i - letters, "inf"))) {
        enso_error_code(err, "invalid_json");
        return enso_error_set(err, ENSO_INVALID,
                              "byte %zu of the JSON is NaN or an infinity, which "
                              "JSON does not have; numbers must be finite",
                              start);
    }
    return ENSO_OK;
}

static enum enso_status count_value(struct scan *s, const struct enso_json_limits *limits,
                                    struct enso_error *err)
{
    if (++s->shape.n_values <= limits->max_values)
        return ENSO_OK;
    enso_error_code(err, "json_values");
    return enso_error_set(err, ENSO_TOO_LARGE,
                          "the JSON has more than %zu values (reached at byte "
                          "%zu); send less in one request, or large tensors in binary form",
                          limits->max_values, s->at);
}

static enum enso_status open_container(struct scan *s, const struct enso_json_limits *limits,
                                       struct enso_error *err)
{
    size_t max_depth = ENSO_MIN(limits->max_depth, (size_t)DEPTH_CEILING);

    s->shape.n_containers++;
    if (++s->depth > max_depth) {
        enso_error_code(err, "json_depth");
        return enso_error_set(err, ENSO_TOO_LARGE,
                              "the JSON is nested deeper than %zu levels "
                              "(reached at byte %zu)",
                              max_depth, s->at);
    }
    s->shape.depth = ENSO_MAX(s->shape.depth, s->depth);
    return ENSO_OK;
}

/* One token, which starts at s->at with c. */
static enum enso_status scan_token(struct scan *s, char c, const struct enso_json_limits *limits,
                                   struct enso_error *err)
{
    enum enso_status st;

    switch (c) {
    case '"':
        st = count_value(s, limits, err);
        if (st != ENSO_OK)
            return st;
        s->at++;
        s->after_string = true;
        return scan_string(s, err);
    case '[':
    case '{':
        st = count_value(s, limits, err);
        if (st == ENSO_OK)
            st = open_container(s, limits, err);
        break;
    case ']':
    case '}':
        s->depth -= s->depth != 0;
        st = ENSO_OK;
        break;
    case ':':
        if (s->after_string) /* it was a key */
            s->shape.n_values--;
        st = ENSO_OK;
        break;
    case ',':
        st = ENSO_OK;
        break;
    default:
        s->after_string = false;
        if (c == '\0') { /* Jansson would take it for the end and not look behind it */
            enso_error_code(err, "invalid_json");
            return enso_error_set(err, ENSO_INVALID, "byte %zu of the JSON is a NUL", s->at);
        }
        if (!is_number_byte(c) && !is_letter(c)) {
            size_t n =
                (unsigned char)c < 0x80 ? 1 : enso_utf8_length(s->data + s->at, s->size - s->at);
            if (n == 0)
                return bad_utf8(s->at, err);
            s->at += n;
            return ENSO_OK;
        }
        st = count_value(s, limits, err);
        return st != ENSO_OK ? st : scan_word(s, err);
    }
    s->after_string = false;
    s->at++;
    return st;
}

enum enso_status enso_json_scan(const char *data, size_t size,
                                const struct enso_json_limits *limits,
                                struct enso_json_shape *ret_shape, struct enso_error *err)
{
    static const struct enso_json_limits usual = ENSO_JSON_LIMITS_DEFAULT;
    struct scan s = {.data = data, .size = size};

    if (limits == NULL)
        limits = &usual;
    while (s.at < size) {
        char c = data[s.at];

        if (c == ' ' || c == '\n' || c == '\t' || c == '\r') {
            s.at++;
            continue;
        }

        enum enso_status st = scan_token(&s, c, limits, err);

        if (st != ENSO_OK)
            return st;
    }
    /* Measured with Jansson 2.14 on 64 bits: a string or number takes 32 bytes and a slot, an
     * object 400 with its first table, an array 130; keys and texts no more than they have here. */
    s.shape.tree_bytes = s.shape.n_values * 112 + s.shape.n_containers * 400 + size;
    *ret_shape = s.shape;
    return ENSO_OK;
}

/* ------------------------------------------------------------------ parsing */

/* A sentence of our own for Jansson's error: its texts quote the document. */
static const char *explain(enum json_error_code code)
{
    switch (code) {
    case json_error_premature_end_of_input:
        return "it ends too early";
    case json_error_end_of_input_expected:
        return "there is something after its end";
    case json_error_invalid_utf8:
        return "a character is not valid UTF-8";
    case json_error_null_byte_in_key:
    case json_error_null_character:
        return "an object key holds a NUL character";
    case json_error_duplicate_key:
        return "an object key occurs twice";
    case json_error_numeric_overflow:
        return "a number is too large (integers have 64 bits, others are doubles)";
    case json_error_stack_overflow:
        return "it is nested too deeply";
    default:
        return NULL;
    }
}

/* What syntax errors are about, from the fixed beginning of Jansson's text. */
static const char *explain_syntax(const char *text)
{
    static const struct {
        const char *start, *sentence;
    } known[] = {
        {"invalid token", "a word or character that is not JSON; strings need double quotes"},
        {"invalid escape", "an invalid escape in a string"},
        {"invalid Unicode", "a lone or broken \\u surrogate in a string"},
        {"control character", "a control character in a string; write it as \\uXXXX"},
        {"unexpected newline", "a line break inside a string; write it as \\n"},
        {"string or '}' expected", "an object key in double quotes, or '}', is expected"},
        {"':' expected", "':' is expected"},
        {"',' expected", "',' is expected"},
        {"'}' expected", "',' or '}' is expected"},
        {"']' expected", "',' or ']' is expected"},
        {"unexpected token", "an unexpected character"},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(known); i++) {
        if (strncmp(text, known[i].start, strlen(known[i].start)) == 0)
            return known[i].sentence;
    }
    return "a syntax error";
}

static enum enso_status parse_error(const json_error_t *e, struct enso_error *err)
{
    enum json_error_code code = json_error_code(e);
    const char *what;

    if (code == json_error_out_of_memory)
        return enso_error_no_memory(err, "the JSON tree");
    what = explain(code);
    if (what == NULL)
        what = explain_syntax(e->text);
    enso_error_code(err, code == json_error_duplicate_key ? "duplicate_key" : "invalid_json");
    return enso_error_set(err, ENSO_INVALID, "not valid JSON: %s, at byte %d (line %d, column %d)",
                          what, e->position, e->line, e->column);
}

static bool is_blank(const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] != ' ' && data[i] != '\n' && data[i] != '\t' && data[i] != '\r')
            return false;
    }
    return true;
}

struct feed {
    const char *data;
    size_t left;
};

static size_t feed(void *buffer, size_t size, void *user)
{
    struct feed *f = user;
    size_t n = parse.failed ? 0 : ENSO_MIN(size, f->left);

    memcpy(buffer, f->data, n);
    f->data += n;
    f->left -= n;
    return n;
}

/* Jansson, with the spare behind it. */
static enum enso_status parse_tree(const char *data, size_t size, json_t **ret,
                                   struct enso_error *err)
{
    struct feed f = {data, size};
    json_error_t error;
    json_t *root;

    parse.active = true;
    parse.failed = false;
    parse.used = 0;
    root = json_load_callback(feed, &f, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL,
                              &error);
    parse.active = false;
    if (parse.failed) {
        json_decref(root);
        return enso_error_no_memory(err, "the JSON tree");
    }
    if (root == NULL)
        return parse_error(&error, err);
    *ret = root;
    return ENSO_OK;
}

enum enso_status enso_json_parse(const char *data, size_t size,
                                 const struct enso_json_limits *limits, json_t **ret,
                                 struct enso_error *err)
{
    struct enso_json_shape shape;

    enso_json_init();
    if (is_blank(data, size)) {
        enso_error_code(err, "invalid_json");
        return enso_error_set(err, ENSO_INVALID, "the JSON is empty; send an object");
    }

    enum enso_status st = enso_json_scan(data, size, limits, &shape, err);

    return st == ENSO_OK ? parse_tree(data, size, ret, err) : st;
}

/* ------------------------------------------------------------------ getters */

const char *enso_json_type_name(const json_t *value)
{
    if (value == NULL)
        return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    return "something unknown";
}

enum enso_status enso_json_wrong_type(const json_t *value, const char *path, const char *expected,
                                      struct enso_error *err)
{
    enso_error_param(err, "%s", path);
    enso_error_code(err, "wrong_type");
    if (*path == '\0')
        return enso_error_set(err, ENSO_INVALID, "expected %s, got %s", expected,
                              enso_json_type_name(value));
    return enso_error_set(err, ENSO_INVALID, "'%s': expected %s, got %s", path, expected,
                          enso_json_type_name(value));
}

struct json_path {
    char text[96];
};

static struct json_path join(const char *path, const char *key)
{
    struct json_path joined;

    (void)snprintf(joined.text, sizeof joined.text, "%s%s%s", path, *path != '\0' ? "." : "",
                   key); /* cutting is fine */
    return joined;
}

static enum enso_status wrong_type(const json_t *value, const char *path, const char *key,
                                   const char *expected, struct enso_error *err)
{
    return enso_json_wrong_type(value, join(path, key).text, expected, err);
}

/* *ret is NULL for an absent optional key. */
static enum enso_status find(const json_t *object, const char *path, const char *key,
                             enum enso_json_need need, const char *expected, json_t **ret,
                             struct enso_error *err)
{
    json_t *value = json_object_get(object, key); /* NULL for NULL and for what is no object */

    if (value != NULL && json_is_null(value))
        value = NULL;
    if (value == NULL && need == ENSO_JSON_REQUIRED) {
        struct json_path joined = join(path, key);

        enso_error_param(err, "%s", joined.text);
        enso_error_code(err, "missing");
        return enso_error_set(err, ENSO_INVALID, "'%s' is missing; give %s", joined.text, expected);
    }
    *ret = value;
    return ENSO_OK;
}

enum enso_status enso_json_get_string(const json_t *object, const char *path, const char *key,
                                      enum enso_json_need need, const char **ret, size_t *ret_size,
                                      struct enso_error *err)
{
    json_t *value;
    enum enso_status st = find(object, path, key, need, "a string", &value, err);

    if (st != ENSO_OK || value == NULL)
        return st;
    if (!json_is_string(value))
        return wrong_type(value, path, key, "a string", err);

    const char *s = json_string_value(value);
    size_t size = json_string_length(value);

    if (ret_size == NULL && memchr(s, '\0', size) != NULL) {
        struct json_path joined = join(path, key);

        enso_error_param(err, "%s", joined.text);
        return enso_error_set(err, ENSO_INVALID, "'%s' holds a NUL character; leave it out",
                              joined.text);
    }
    *ret = s;
    if (ret_size != NULL)
        *ret_size = size;
    return ENSO_OK;
}

enum enso_status enso_json_get_bool(const json_t *object, const char *path, const char *key,
                                    enum enso_json_need need, bool *ret, struct enso_error *err)
{
    json_t *value;
    enum enso_status st = find(object, path, key, need, "true or false", &value, err);

    if (st != ENSO_OK || value == NULL)
        return st;
    if (!json_is_boolean(value))
        return wrong_type(value, path, key, "true or false", err);
    *ret = json_is_true(value);
    return ENSO_OK;
}

static enum enso_status out_of_range(const char *path, const char *key, struct enso_error *err,
                                     const char *low, const char *high)
{
    struct json_path joined = join(path, key);

    enso_error_param(err, "%s", joined.text);
    enso_error_code(err, "out_of_range");
    return enso_error_set(err, ENSO_INVALID, "'%s' must be between %s and %s", joined.text, low,
                          high);
}

enum enso_status enso_json_get_int(const json_t *object, const char *path, const char *key,
                                   enum enso_json_need need, int64_t min, int64_t max, int64_t *ret,
                                   struct enso_error *err)
{
    json_t *value;
    enum enso_status st = find(object, path, key, need, "an integer", &value, err);
    int64_t number;
    bool fits = true;

    if (st != ENSO_OK || value == NULL)
        return st;
    if (json_is_integer(value)) {
        number = json_integer_value(value);
    } else if (json_is_real(value) && json_real_value(value) == trunc(json_real_value(value))) {
        double x = json_real_value(value);

        fits = x >= (double)INT64_MIN && x < -(double)INT64_MIN; /* -2^63 to 2^63 */
        number = fits ? (int64_t)x : 0;
    } else {
        return wrong_type(value, path, key, "an integer", err);
    }
    if (!fits || number < min || number > max) {
        char low[24], high[24];

        (void)snprintf(low, sizeof low, "%lld", (long long)min);   /* fits */
        (void)snprintf(high, sizeof high, "%lld", (long long)max); /* fits */
        return out_of_range(path, key, err, low, high);
    }
    *ret = number;
    return ENSO_OK;
}

enum enso_status enso_json_get_number(const json_t *object, const char *path, const char *key,
                                      enum enso_json_need need, double min, double max, double *ret,
                                      struct enso_error *err)
{
    json_t *value;
    enum enso_status st = find(object, path, key, need, "a number", &value, err);

    if (st != ENSO_OK || value == NULL)
        return st;
    if (!json_is_number(value))
        return wrong_type(value, path, key, "a number", err);

    double x = json_number_value(value);

    if (!(x >= min && x <= max)) {
        char low[32], high[32];

        (void)snprintf(low, sizeof low, "%.9g", min);   /* fits */
        (void)snprintf(high, sizeof high, "%.9g", max); /* fits */
        return out_of_range(path, key, err, low, high);
    }
    *ret = x;
    return ENSO_OK;
}

enum enso_status enso_json_get_array(const json_t *object, const char *path, const char *key,
                                     enum enso_json_need need, json_t **ret, struct enso_error *err)
{
    json_t *value;
    enum enso_status st = find(object, path, key, need, "an array", &value, err);

    if (st != ENSO_OK || value == NULL)
        return st;
    if (!json_is_array(value))
        return wrong_type(value, path, key, "an array", err);
    *ret = value;
    return ENSO_OK;
}

enum enso_status enso_json_get_object(const json_t *object, const char *path, const char *key,
                                      enum enso_json_need need, json_t **ret,
                                      struct enso_error *err)
{
    json_t *value;
    enum enso_status st = find(object, path, key, need, "an object", &value, err);

    if (st != ENSO_OK || value == NULL)
        return st;
    if (!json_is_object(value))
        return wrong_type(value, path, key, "an object", err);
    *ret = value;
    return ENSO_OK;
}
