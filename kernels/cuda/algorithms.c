/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of timed algorithms and its file: see algorithms.h. Some hundreds of entries, found by
 * walking them: they are looked up when a model is loaded, once for each product and bucket.
 */
#include "ensod_build.h"

#include "kernels/cuda/algorithms.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/memory.h"

#define HEAD "ensod algorithms 1"
#define MAX_BYTES ((size_t)4 << 20)
#define MAX_FIELDS 16

bool enso__cublaslt_is_same(const struct enso__cublaslt_product *a,
                            const struct enso__cublaslt_product *b)
{
    return a->dtype == b->dtype && a->out_dtype == b->out_dtype && a->epilogue == b->epilogue &&
           a->x_transposed == b->x_transposed && a->w_transposed == b->w_transposed &&
           a->residual == b->residual && a->invariant == b->invariant && a->n == b->n &&
           a->k == b->k && a->ld_x == b->ld_x && a->ld_w == b->ld_w && a->ld_y == b->ld_y &&
           (!a->residual || a->ld_residual == b->ld_residual);
}

void enso__algorithms_done(struct enso__algorithms *a)
{
    enso_free(a->entries);
    *a = (struct enso__algorithms){.n = 0};
}

const struct enso__algorithm *enso__algorithms_find(const struct enso__algorithms *a,
                                                    const struct enso__cublaslt_product *product,
                                                    size_t rows)
{
    for (size_t i = 0; i < a->n; i++)
        if (a->entries[i].rows == rows && enso__cublaslt_is_same(&a->entries[i].product, product))
            return &a->entries[i];
    return NULL;
}

int enso__algorithms_put(struct enso__algorithms *a, const struct enso__algorithm *entry,
                         struct enso_error *err)
{
    const struct enso__algorithm *old = enso__algorithms_find(a, &entry->product, entry->rows);

    if (old != NULL) {
        a->entries[old - a->entries] = *entry;
        return ENSO_OK;
    }
    if (a->n == ENSO__ALGORITHMS_MAX)
        return enso_error_set(err, ENSO_TOO_LARGE, "more than %d timed products",
                              ENSO__ALGORITHMS_MAX);
    if (a->n == a->capacity) {
        size_t capacity = ENSO_MAX(2 * a->capacity, (size_t)64);
        void *entries = enso_realloc_array(a->entries, capacity, sizeof(*a->entries));

        if (entries == NULL)
            return enso_error_no_memory(err, "timed products");
        a->entries = entries;
        a->capacity = capacity;
    }
    a->entries[a->n++] = *entry;
    return ENSO_OK;
}

/* ---- reading ---- */

struct field {
    const char *text;
    size_t size;
};

/* A line's fields, which single blanks separate; 0 when there are too many or an empty one. */
static size_t split(const char *line, size_t size, struct field fields[MAX_FIELDS])
{
    size_t n = 0, at = 0;

    while (at <= size && n < MAX_FIELDS) {
        const char *blank = memchr(line + at, ' ', size - at);
        size_t end = blank != NULL ? (size_t)(blank - line) : size;

        if (end == at)
            return 0;
        fields[n++] = (struct field){line + at, end - at};
        at = end + 1;
    }
    return at > size ? n : 0;
}

static bool is_word(struct field f, const char *word)
{
    return f.size == strlen(word) && memcmp(f.text, word, f.size) == 0;
}

/* A decimal number of at most nine digits. */
static bool read_number(struct field f, size_t *ret)
{
    size_t v = 0;

    if (f.size == 0 || f.size > 9 || (f.size > 1 && f.text[0] == '0'))
        return false;
    for (size_t i = 0; i < f.size; i++) {
        if (f.text[i] < '0' || f.text[i] > '9')
            return false;
        v = 10 * v + (size_t)(f.text[i] - '0');
    }
    *ret = v;
    return true;
}

static bool read_flag(struct field f, bool *ret)
{
    *ret = is_word(f, "1");
    return *ret || is_word(f, "0");
}

static bool read_type(struct field f, enum enso_dtype *ret)
{
    static const enum enso_dtype types[] = {ENSO_DTYPE_F32, ENSO_DTYPE_F16, ENSO_DTYPE_BF16};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(types); i++)
        if (is_word(f, enso_dtype_name(types[i]))) {
            *ret = types[i];
            return true;
        }
    return false;
}

/* Digits with one point among them. */
static bool read_microseconds(struct field f, float *ret)
{
    char text[24];
    char *end;

    if (f.size >= sizeof(text) || strspn(f.text, "0123456789.") < f.size)
        return false;
    memcpy(text, f.text, f.size);
    text[f.size] = '\0';
    *ret = strtof(text, &end);
    return *end == '\0' && *ret >= 0;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_algorithm(struct field f, struct enso__algorithm *ret)
{
    ret->own = is_word(f, "own");
    if (ret->own)
        return true;
    if (f.size != 16 * ENSO_ARRAY_SIZE(ret->algorithm.data))
        return false;
    for (size_t i = 0; i < f.size; i++) {
        int digit = hex_digit(f.text[i]);

        if (digit < 0)
            return false;
        ret->algorithm.data[i / 16] = ret->algorithm.data[i / 16] << 4 | (unsigned)digit;
    }
    return true;
}

static bool read_entry(const char *line, size_t size, struct enso__algorithm *ret)
{
    struct field f[MAX_FIELDS];
    struct enso__cublaslt_product *p = &ret->product;
    size_t epilogue = 0;

    *ret = (struct enso__algorithm){.rows = 0};
    if (split(line, size, f) != 14 || !read_type(f[0], &p->dtype) ||
        !read_type(f[1], &p->out_dtype) || !read_number(f[2], &p->n) || !read_number(f[3], &p->k) ||
        !read_flag(f[4], &p->x_transposed) || !read_number(f[5], &p->ld_x) ||
        !read_flag(f[6], &p->w_transposed) || !read_number(f[7], &p->ld_w) ||
        !read_number(f[8], &p->ld_y) || !read_number(f[9], &p->ld_residual) ||
        !read_number(f[10], &epilogue) || !read_number(f[11], &ret->rows) ||
        !read_microseconds(f[12], &ret->us) || !read_algorithm(f[13], ret))
        return false;
    p->epilogue = (unsigned)epilogue;
    p->residual = p->ld_residual != 0;
    return epilogue < 8 && p->n != 0 && p->k != 0 && ret->rows != 0;
}

/* The next line of the text, without its end; false when what is left has no end of line. */
static bool next_line(const char *text, size_t size, size_t *at, struct field *ret)
{
    const char *end = *at < size ? memchr(text + *at, '\n', size - *at) : NULL;

    if (end == NULL)
        return false;
    *ret = (struct field){text + *at, (size_t)(end - text) - *at};
    *at += ret->size + 1;
    return true;
}

/* The last line says how many there were. */
static bool is_end(struct field line, size_t n)
{
    struct field f[MAX_FIELDS];
    size_t said;

    return split(line.text, line.size, f) == 2 && is_word(f[0], "end") &&
           read_number(f[1], &said) && said == n;
}

int enso__algorithms_parse(const char *text, size_t size, const char *title,
                           struct enso__algorithms *ret, struct enso_error *err)
{
    struct enso__algorithms a = {.n = 0};
    struct enso__algorithm entry;
    struct field line;
    size_t at = 0, number = 2;
    int st = ENSO_OK;

    *ret = a;
    if (!next_line(text, size, &at, &line) || !is_word(line, HEAD))
        return enso_error_set(err, ENSO_INVALID, "line 1 is not '%s'", HEAD);
    if (!next_line(text, size, &at, &line) || line.size < 4 || memcmp(line.text, "for ", 4) != 0 ||
        !is_word((struct field){line.text + 4, line.size - 4}, title))
        return enso_error_set(err, ENSO_INVALID, "it is not for %s", title);
    while (st == ENSO_OK && next_line(text, size, &at, &line)) {
        number++;
        if (is_end(line, a.n) && at == size) {
            *ret = a;
            return ENSO_OK;
        }
        if (!read_entry(line.text, line.size, &entry))
            st = enso_error_set(err, ENSO_INVALID, "line %zu is no timed product", number);
        else
            st = enso__algorithms_put(&a, &entry, err);
    }
    enso__algorithms_done(&a);
    return st != ENSO_OK ? st : enso_error_set(err, ENSO_INVALID, "its end is missing");
}

/* ---- files ---- */

/* One file for each title: FNV-1a of it. */
static bool file_path(const char *dir, const char *title, const char *end, char path[PATH_MAX])
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (const char *c = title; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    return snprintf(path, PATH_MAX, "%s/algorithms-%016" PRIx64 ".txt%s", dir, hash, end) <
           PATH_MAX;
}

/* All of a regular file; *ret_size is at most MAX_BYTES. */
static int read_file(const char *path, char **ret_text, size_t *ret_size, struct enso_error *err)
{
    struct stat about;
    FILE *f = fopen(path, "re");

    if (f == NULL)
        return enso_error_set(err, errno == ENOENT ? ENSO_NOT_FOUND : ENSO_IO,
                              "'%.300s' cannot be read: %s", path, strerror(errno));
    if (fstat(fileno(f), &about) != 0 || !S_ISREG(about.st_mode) || about.st_size < 0 ||
        (uintmax_t)about.st_size > MAX_BYTES) {
        (void)fclose(f);
        return enso_error_set(err, ENSO_INVALID, "'%.300s' is no file of at most 4 MiB", path);
    }
    char *text = enso_alloc((size_t)about.st_size + 1);
    if (text == NULL) {
        (void)fclose(f);
        return enso_error_no_memory(err, "timed products");
    }
    *ret_size = fread(text, 1, (size_t)about.st_size, f);
    *ret_text = text;
    (void)fclose(f); /* what was read counts: a file that is cut short has no end */
    return ENSO_OK;
}

int enso__algorithms_load(const char *dir, const char *title, struct enso__algorithms *ret,
                          struct enso_error *err)
{
    char path[PATH_MAX], *text = NULL;
    struct enso_error why = {0};
    size_t size = 0;

    *ret = (struct enso__algorithms){.n = 0};
    if (!file_path(dir, title, "", path))
        return enso_error_set(err, ENSO_INVALID, "the state directory's name is too long");
    int st = read_file(path, &text, &size, err);
    if (st != ENSO_OK)
        return st;
    st = enso__algorithms_parse(text, size, title, ret, &why);
    enso_free(text);
    return st == ENSO_OK
               ? ENSO_OK
               : enso_error_set(err, (enum enso_status)st, "'%.300s': %s", path, why.message);
}

static bool write_entry(FILE *f, const struct enso__algorithm *e)
{
    const struct enso__cublaslt_product *p = &e->product;

    if (fprintf(f, "%s %s %zu %zu %d %zu %d %zu %zu %zu %u %zu %.3f ", enso_dtype_name(p->dtype),
                enso_dtype_name(p->out_dtype), p->n, p->k, p->x_transposed, p->ld_x,
                p->w_transposed, p->ld_w, p->ld_y, p->residual ? p->ld_residual : 0, p->epilogue,
                e->rows, (double)e->us) < 0)
        return false;
    if (e->own)
        return fputs("own\n", f) >= 0;
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(e->algorithm.data); i++)
        if (fprintf(f, "%016" PRIx64, e->algorithm.data[i]) < 0)
            return false;
    return fputc('\n', f) >= 0;
}

static bool write_all(FILE *f, const char *title, const struct enso__algorithms *a)
{
    bool good = fprintf(f, HEAD "\nfor %s\n", title) >= 0;

    for (size_t i = 0; good && i < a->n; i++)
        good = write_entry(f, &a->entries[i]);
    return good && fprintf(f, "end %zu\n", a->n) >= 0 && fflush(f) == 0 && fsync(fileno(f)) == 0;
}

int enso__algorithms_store(const char *dir, const char *title, const struct enso__algorithms *a,
                           struct enso_error *err)
{
    char path[PATH_MAX], fresh[PATH_MAX];

    if (!file_path(dir, title, "", path) || !file_path(dir, title, ".XXXXXX", fresh))
        return enso_error_set(err, ENSO_INVALID, "the state directory's name is too long");
    int fd = mkostemp(fresh, O_CLOEXEC);
    FILE *f = fd >= 0 ? fdopen(fd, "we") : NULL;
    bool good = f != NULL && fchmod(fd, 0644) == 0 && write_all(f, title, a);
    int why = errno;

    if (f != NULL && fclose(f) != 0 && good) {
        why = errno;
        good = false;
    }
    if (f == NULL && fd >= 0)
        (void)close(fd);
    if (good && rename(fresh, path) != 0) {
        why = errno;
        good = false;
    }
    if (good)
        return ENSO_OK;
    if (fd >= 0)
        (void)unlink(fresh);
    return enso_error_set(err, ENSO_IO, "'%.300s' cannot be written: %s", path, strerror(why));
}
