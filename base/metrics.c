/* SPDX-License-Identifier: Apache-2.0
 *
 * Metrics: see metrics.h. Dozens of families with up to some hundred children each (a child per
 * label of a classifier at most): children hang in a list in the order of creation, found through a
 * small hash table when there are many.
 */
#include "base/metrics.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/number.h"
#include "base/utf8.h"

#define MAX_BUCKETS 63

struct child {
    union {
        struct enso_counter counter;
        struct enso_gauge gauge;
        struct enso_histogram histogram;
    };
    struct child *next;      /* in the order of creation */
    struct child *next_hash; /* in the same slot of the table */
    uint64_t hash;
    unsigned n_users;
    enso_metrics_read_fn read; /* NULL unless a callback */
    void *context;
    char *labels; /* owned: name="value",... escaped; "" without labels */
};

struct enso_metrics_family {
    struct enso_metrics *metrics;
    struct enso_metrics_family *next;
    enum enso_metrics_type type;
    char *name, *help;
    char *labels[ENSO_METRICS_LABELS];
    size_t n_labels;
    double *buckets;
    size_t n_buckets;
    struct child *first, **last;
    struct child **table; /* n_slots, a power of two */
    size_t n_slots, n_children;
};

struct enso_metrics {
    pthread_mutex_t mutex; /* lists and tables; not the numbers */
    struct enso_metrics_family *first, **last;
};

const double enso_metrics_seconds[18] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                         0.01,   0.025,   0.05,   0.1,   0.25,   0.5,
                                         1,      2.5,     5,      10,    30,     60};
const double enso_metrics_sizes[16] = {1,   2,   4,    8,    16,   32,   64,    128,
                                       256, 512, 1024, 2048, 4096, 8192, 16384, 32768};

/* ------------------------------------------------------------------ families */

struct enso_metrics *enso_metrics_create(void)
{
    struct enso_metrics *m = enso_alloc_zero(1, sizeof *m);

    if (m == NULL)
        return NULL;
    (void)pthread_mutex_init(&m->mutex, NULL); /* cannot fail with default attributes */
    m->last = &m->first;
    return m;
}

static void child_destroy(struct enso_metrics_family *f, struct child *c)
{
    if (f->type == ENSO_METRICS_HISTOGRAM)
        enso_free(c->histogram.counts);
    enso_free(c->labels);
    enso_free(c);
}

static void family_destroy(struct enso_metrics_family *f)
{
    if (f == NULL)
        return;
    for (struct child *c = f->first; c != NULL;) {
        struct child *next = c->next;

        child_destroy(f, c);
        c = next;
    }
    for (size_t i = 0; i < ENSO_METRICS_LABELS; i++)
        enso_free(f->labels[i]);
    enso_free(f->name);
    enso_free(f->help);
    enso_free(f->buckets);
    enso_free(f->table);
    enso_free(f);
}

void enso_metrics_destroy(struct enso_metrics *m)
{
    if (m == NULL)
        return;
    for (struct enso_metrics_family *f = m->first; f != NULL;) {
        struct enso_metrics_family *next = f->next;

        family_destroy(f);
        f = next;
    }
    (void)pthread_mutex_destroy(&m->mutex); /* nobody holds it */
    enso_free(m);
}

static bool is_name(const char *s, bool colons)
{
    if (*s == '\0' || (*s >= '0' && *s <= '9'))
        return false;
    for (; *s != '\0'; s++) {
        if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
              *s == '_' || (colons && *s == ':')))
            return false;
    }
    return true;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n > m && strcmp(s + n - m, end) == 0;
}

static enum enso_status check_spec(const struct enso_metrics_spec *spec, struct enso_error *err)
{
    if (!is_name(spec->name, true))
        return enso_error_set(err, ENSO_INVALID, "metric '%s': not a metric name", spec->name);
    if ((spec->type == ENSO_METRICS_COUNTER) != ends_with(spec->name, "_total"))
        return enso_error_set(err, ENSO_INVALID,
                              "metric '%s': counters, and only they, end in '_total'", spec->name);
    for (size_t i = 0; i < ENSO_METRICS_LABELS && spec->labels[i] != NULL; i++) {
        if (!is_name(spec->labels[i], false) || strncmp(spec->labels[i], "__", 2) == 0 ||
            strcmp(spec->labels[i], "le") == 0)
            return enso_error_set(err, ENSO_INVALID, "metric '%s': '%s' is no label name",
                                  spec->name, spec->labels[i]);
    }
    if (spec->type != ENSO_METRICS_HISTOGRAM)
        return ENSO_OK;
    if (spec->n_buckets == 0 || spec->n_buckets > MAX_BUCKETS)
        return enso_error_set(err, ENSO_INVALID, "metric '%s': %zu buckets; give 1 to %d",
                              spec->name, spec->n_buckets, MAX_BUCKETS);
    for (size_t i = 1; i < spec->n_buckets; i++) {
        if (!(spec->buckets[i - 1] < spec->buckets[i]))
            return enso_error_set(err, ENSO_INVALID, "metric '%s': bucket bounds must ascend",
                                  spec->name);
    }
    return ENSO_OK;
}

static bool same_spec(const struct enso_metrics_family *f, const struct enso_metrics_spec *spec)
{
    size_t n = 0;

    while (n < ENSO_METRICS_LABELS && spec->labels[n] != NULL)
        n++;
    if (f->type != spec->type || f->n_labels != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(f->labels[i], spec->labels[i]) != 0)
            return false;
    }
    return f->type != ENSO_METRICS_HISTOGRAM ||
           (f->n_buckets == spec->n_buckets &&
            memcmp(f->buckets, spec->buckets, f->n_buckets * sizeof *f->buckets) == 0);
}

static struct enso_metrics_family *family_create(struct enso_metrics *m,
                                                 const struct enso_metrics_spec *spec)
{
    struct enso_metrics_family *f = enso_alloc_zero(1, sizeof *f);

    if (f == NULL)
        return NULL;
    f->metrics = m;
    f->type = spec->type;
    f->last = &f->first;
    f->name = enso_strdup(spec->name);
    f->help = enso_strdup(spec->help);
    f->n_slots = 8;
    f->table = enso_alloc_zero(f->n_slots, sizeof(struct child *));
    if (f->name == NULL || f->help == NULL || f->table == NULL)
        goto no_memory;
    for (; f->n_labels < ENSO_METRICS_LABELS && spec->labels[f->n_labels] != NULL; f->n_labels++) {
        f->labels[f->n_labels] = enso_strdup(spec->labels[f->n_labels]);
        if (f->labels[f->n_labels] == NULL)
            goto no_memory;
    }
    if (spec->type == ENSO_METRICS_HISTOGRAM) {
        f->buckets = enso_memdup(spec->buckets, spec->n_buckets * sizeof *spec->buckets);
        f->n_buckets = spec->n_buckets;
        if (f->buckets == NULL)
            goto no_memory;
    }
    return f;
no_memory:
    family_destroy(f);
    return NULL;
}

struct enso_metrics_family *enso_metrics_add(struct enso_metrics *m,
                                             const struct enso_metrics_spec *spec,
                                             struct enso_error *err)
{
    struct enso_metrics_family *f;

    if (check_spec(spec, err) != ENSO_OK)
        return NULL;
    pthread_mutex_lock(&m->mutex);
    for (f = m->first; f != NULL; f = f->next) {
        if (strcmp(f->name, spec->name) != 0)
            continue;
        if (!same_spec(f, spec)) {
            (void)enso_error_set(err, ENSO_INVALID, /* NULL is the answer */
                                 "metric '%s' exists with another type, labels or buckets",
                                 spec->name);
            f = NULL;
        }
        goto out;
    }
    f = family_create(m, spec);
    if (f == NULL) {
        (void)enso_error_no_memory(err, "a metric"); /* NULL is the answer */
        goto out;
    }
    *m->last = f;
    m->last = &f->next;
out:
    pthread_mutex_unlock(&m->mutex);
    return f;
}

/* ------------------------------------------------------------------ children */

/* Escaped as both formats want it: backslash, quote, newline. Other controls and broken UTF-8
 * become U+FFFD. */
static void put_escaped(struct enso_buffer *b, const char *s, bool quotes)
{
    size_t size = strlen(s);

    for (size_t i = 0; i < size;) {
        size_t n = enso_utf8_length(s + i, size - i);

        if (n == 0 || ((unsigned char)s[i] < ' ' && s[i] != '\n')) {
            enso_buffer_puts(b, "\xEF\xBF\xBD");
            i++;
            continue;
        }
        if (s[i] == '\\')
            enso_buffer_puts(b, "\\\\");
        else if (s[i] == '\n')
            enso_buffer_puts(b, "\\n");
        else if (s[i] == '"' && quotes)
            enso_buffer_puts(b, "\\\"");
        else
            enso_buffer_append(b, s + i, n);
        i += n;
    }
}

static char *render_labels(const struct enso_metrics_family *f, const char *const *values)
{
    struct enso_buffer b = ENSO_BUFFER_INIT;

    assert(f->n_labels == 0 || values != NULL);
    for (size_t i = 0; values != NULL && i < f->n_labels; i++) {
        if (i != 0)
            enso_buffer_putc(&b, ',');
        enso_buffer_puts(&b, f->labels[i]);
        enso_buffer_puts(&b, "=\"");
        put_escaped(&b, values[i], true);
        enso_buffer_putc(&b, '"');
    }

    char *text = enso_buffer_detach(&b, NULL);

    enso_buffer_done(&b);
    return text;
}

static uint64_t hash_text(const char *s) /* FNV-1a: our own label values, no attacker */
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);

    for (; *s != '\0'; s++)
        hash = (hash ^ (unsigned char)*s) * UINT64_C(0x100000001B3);
    return hash;
}

static struct child *find_child(const struct enso_metrics_family *f, const char *labels,
                                uint64_t hash)
{
    struct child *c = f->table[hash & (f->n_slots - 1)];

    while (c != NULL && (c->hash != hash || strcmp(c->labels, labels) != 0))
        c = c->next_hash;
    return c;
}

static void insert_hash(struct enso_metrics_family *f, struct child *c)
{
    struct child **slot = &f->table[c->hash & (f->n_slots - 1)];

    c->next_hash = *slot;
    *slot = c;
}

/* A failed growth leaves the table as it is: slower, but right. */
static void grow_table(struct enso_metrics_family *f)
{
    struct child **table = enso_alloc_zero(f->n_slots * 2, sizeof(struct child *));

    if (table == NULL)
        return;
    enso_free(f->table);
    f->table = table;
    f->n_slots *= 2;
    for (struct child *c = f->first; c != NULL; c = c->next)
        insert_hash(f, c);
}

static struct child *child_create(struct enso_metrics_family *f)
{
    /* a cache line of its own: two lanes count side by side */
    size_t size = (sizeof(struct child) + ENSO_CACHE_LINE - 1) & ~(size_t)(ENSO_CACHE_LINE - 1);
    struct child *c = enso_alloc_aligned(ENSO_CACHE_LINE, size);

    if (c == NULL)
        return NULL;
    memset(c, 0, sizeof *c);
    if (f->type != ENSO_METRICS_HISTOGRAM)
        return c;
    c->histogram.bounds = f->buckets;
    c->histogram.n_bounds = f->n_buckets;
    c->histogram.counts = enso_alloc_zero(f->n_buckets + 1, sizeof *c->histogram.counts);
    if (c->histogram.counts == NULL) {
        enso_free(c);
        return NULL;
    }
    return c;
}

/* The child with these values, made if need be; NULL when out of memory. */
static struct child *get_child(struct enso_metrics_family *f, const char *const *values,
                               enso_metrics_read_fn read, void *context)
{
    char *labels = render_labels(f, values);
    struct child *c = NULL;

    if (labels == NULL)
        return NULL;

    uint64_t hash = hash_text(labels);

    pthread_mutex_lock(&f->metrics->mutex);
    c = find_child(f, labels, hash);
    if (c == NULL) {
        c = child_create(f);
        if (c == NULL)
            goto out;
        if (f->n_children >= f->n_slots)
            grow_table(f);
        c->labels = labels;
        labels = NULL;
        c->hash = hash;
        insert_hash(f, c);
        *f->last = c;
        f->last = &c->next;
        f->n_children++;
    }
    c->n_users++;
    if (read != NULL) {
        c->read = read;
        c->context = context;
    }
out:
    pthread_mutex_unlock(&f->metrics->mutex);
    enso_free(labels);
    return c;
}

struct enso_counter *enso_metrics_counter(struct enso_metrics_family *f, const char *const *values)
{
    assert(f->type == ENSO_METRICS_COUNTER);

    struct child *c = get_child(f, values, NULL, NULL);

    return c != NULL ? &c->counter : NULL;
}

struct enso_gauge *enso_metrics_gauge(struct enso_metrics_family *f, const char *const *values)
{
    assert(f->type == ENSO_METRICS_GAUGE);

    struct child *c = get_child(f, values, NULL, NULL);

    return c != NULL ? &c->gauge : NULL;
}

struct enso_histogram *enso_metrics_histogram(struct enso_metrics_family *f,
                                              const char *const *values)
{
    assert(f->type == ENSO_METRICS_HISTOGRAM);

    struct child *c = get_child(f, values, NULL, NULL);

    return c != NULL ? &c->histogram : NULL;
}

bool enso_metrics_callback(struct enso_metrics_family *f, const char *const *values,
                           enso_metrics_read_fn read, void *context)
{
    assert(f->type != ENSO_METRICS_HISTOGRAM);
    return get_child(f, values, read, context) != NULL;
}

/* Called with the mutex held. */
static void release_child(struct enso_metrics_family *f, struct child *c)
{
    struct child **p = &f->table[c->hash & (f->n_slots - 1)];

    if (--c->n_users != 0)
        return;
    while (*p != c)
        p = &(*p)->next_hash;
    *p = c->next_hash;
    p = &f->first;
    while (*p != c)
        p = &(*p)->next;
    *p = c->next;
    if (f->last == &c->next)
        f->last = p;
    f->n_children--;
    child_destroy(f, c);
}

static void release(struct enso_metrics_family *f, struct child *c)
{
    pthread_mutex_lock(&f->metrics->mutex);
    release_child(f, c);
    pthread_mutex_unlock(&f->metrics->mutex);
}

void enso_counter_release(struct enso_metrics_family *f, struct enso_counter *c)
{
    if (c != NULL)
        release(f, ENSO_CONTAINER_OF(c, struct child, counter));
}

void enso_gauge_release(struct enso_metrics_family *f, struct enso_gauge *g)
{
    if (g != NULL)
        release(f, ENSO_CONTAINER_OF(g, struct child, gauge));
}

void enso_histogram_release(struct enso_metrics_family *f, struct enso_histogram *h)
{
    if (h != NULL)
        release(f, ENSO_CONTAINER_OF(h, struct child, histogram));
}

void enso_metrics_callback_release(struct enso_metrics_family *f, const char *const *values)
{
    pthread_mutex_lock(&f->metrics->mutex);
    for (struct child *c = f->first; c != NULL; c = c->next) {
        struct enso_buffer b = ENSO_BUFFER_INIT;
        const char *at = c->labels;
        bool same = true;

        /* compared piece by piece, so that releasing never needs memory for long values only */
        for (size_t i = 0; i < f->n_labels && same; i++) {
            enso_buffer_clear(&b);
            enso_buffer_printf(&b, "%s%s=\"", i != 0 ? "," : "", f->labels[i]);
            put_escaped(&b, values[i], true);
            enso_buffer_putc(&b, '"');
            same = !b.failed && strncmp(at, b.data, b.size) == 0;
            at += same ? b.size : 0;
        }
        enso_buffer_done(&b);
        if (same && c->read != NULL) {
            release_child(f, c);
            break;
        }
    }
    pthread_mutex_unlock(&f->metrics->mutex);
}

/* ------------------------------------------------------------------ counting */

void enso_histogram_observe(struct enso_histogram *h, double value)
{
    size_t low = 0, high = h->n_bounds;

    while (low < high) { /* the first bound >= value; NaN goes to +Inf */
        size_t middle = (low + high) / 2;

        if (value <= h->bounds[middle])
            high = middle;
        else
            low = middle + 1;
    }
    atomic_fetch_add_explicit(&h->counts[low], 1, memory_order_relaxed);

    double sum = atomic_load_explicit(&h->sum, memory_order_relaxed);

    /* relaxed: the sum stands for itself */
    while (!atomic_compare_exchange_weak_explicit(&h->sum, &sum, sum + value, memory_order_relaxed,
                                                  memory_order_relaxed))
        continue;
}

void enso_histogram_observe_ns(struct enso_histogram *h, uint64_t ns)
{
    enso_histogram_observe(h, (double)ns * 1e-9);
}

/* ------------------------------------------------------------------ the page */

static void put_value(struct enso_buffer *b, double value)
{
    if (value != value)
        enso_buffer_puts(b, "NaN");
    else if (value - value != 0)
        enso_buffer_puts(b, value > 0 ? "+Inf" : "-Inf");
    else if (value == (double)(int64_t)value && value < 1e15 && value > -1e15)
        enso_buffer_put_i64(b, (int64_t)value);
    else
        enso_buffer_put_f64(b, value);
}

static void put_name(struct enso_buffer *b, const char *name, size_t size, const char *suffix,
                     const char *labels)
{
    enso_buffer_append(b, name, size);
    enso_buffer_puts(b, suffix);
    if (*labels != '\0') {
        enso_buffer_putc(b, '{');
        enso_buffer_puts(b, labels);
        enso_buffer_putc(b, '}');
    }
    enso_buffer_putc(b, ' ');
}

static void put_histogram(struct enso_buffer *b, const struct enso_metrics_family *f,
                          const struct child *c)
{
    const struct enso_histogram *h = &c->histogram;
    size_t size = strlen(f->name);
    uint64_t total = 0;

    for (size_t i = 0; i <= h->n_bounds; i++) {
        total += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
        enso_buffer_append(b, f->name, size);
        enso_buffer_puts(b, "_bucket{");
        enso_buffer_puts(b, c->labels);
        enso_buffer_puts(b, *c->labels != '\0' ? ",le=\"" : "le=\"");
        if (i == h->n_bounds)
            enso_buffer_puts(b, "+Inf");
        else
            enso_buffer_put_f64(b, h->bounds[i]); /* "1.0" as OpenMetrics wants it */
        enso_buffer_puts(b, "\"} ");
        enso_buffer_put_u64(b, total);
        enso_buffer_putc(b, '\n');
    }
    put_name(b, f->name, size, "_sum", c->labels);
    put_value(b, atomic_load_explicit(&h->sum, memory_order_relaxed));
    enso_buffer_putc(b, '\n');
    put_name(b, f->name, size, "_count", c->labels); /* the +Inf bucket, never another number */
    enso_buffer_put_u64(b, total);
    enso_buffer_putc(b, '\n');
}

static void put_child(struct enso_buffer *b, const struct enso_metrics_family *f,
                      const struct child *c)
{
    if (f->type == ENSO_METRICS_HISTOGRAM) {
        put_histogram(b, f, c);
        return;
    }
    put_name(b, f->name, strlen(f->name), "", c->labels);
    if (c->read != NULL)
        put_value(b, c->read(c->context));
    else if (f->type == ENSO_METRICS_COUNTER)
        enso_buffer_put_u64(b, enso_counter_get(&c->counter));
    else
        enso_buffer_put_i64(b, enso_gauge_get(&c->gauge));
    enso_buffer_putc(b, '\n');
}

static void put_family(struct enso_buffer *b, const struct enso_metrics_family *f, bool open)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    size_t size = strlen(f->name);

    if (open && f->type == ENSO_METRICS_COUNTER)
        size -= strlen("_total"); /* OpenMetrics: the family has no suffix, its samples have */
    enso_buffer_puts(b, "# HELP ");
    enso_buffer_append(b, f->name, size);
    enso_buffer_putc(b, ' ');
    put_escaped(b, f->help, open);
    enso_buffer_puts(b, "\n# TYPE ");
    enso_buffer_append(b, f->name, size);
    enso_buffer_putc(b, ' ');
    enso_buffer_puts(b, types[f->type]);
    enso_buffer_putc(b, '\n');
    for (const struct child *c = f->first; c != NULL; c = c->next)
        put_child(b, f, c);
}

void enso_metrics_write(struct enso_metrics *m, enum enso_metrics_format format,
                        struct enso_buffer *b)
{
    pthread_mutex_lock(&m->mutex);
    for (const struct enso_metrics_family *f = m->first; f != NULL; f = f->next) {
        if (f->first != NULL)
            put_family(b, f, format == ENSO_METRICS_OPENMETRICS);
    }
    pthread_mutex_unlock(&m->mutex);
    if (format == ENSO_METRICS_OPENMETRICS)
        enso_buffer_puts(b, "# EOF\n");
}

const char *enso_metrics_content_type(enum enso_metrics_format format)
{
    return format == ENSO_METRICS_OPENMETRICS
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : "text/plain; version=0.0.4; charset=utf-8";
}

/* ------------------------------------------------------------------ process_* */

static double read_cpu(void *context)
{
    struct rusage u;

    (void)context;
    (void)getrusage(RUSAGE_SELF, &u); /* cannot fail */
    return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

/* A small file of /proc; false when it cannot be read. */
static bool read_proc(const char *path, char *text, size_t capacity)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return false;
    n = read(fd, text, capacity - 1);
    (void)close(fd); /* read only */
    if (n <= 0)
        return false;
    text[n] = '\0';
    return true;
}

/* Field `index` of /proc/self/statm in bytes. */
static double read_statm(int index)
{
    char text[128];
    char *p = text;

    if (!read_proc("/proc/self/statm", text, sizeof text))
        return 0;
    for (int i = 0; i < index; i++)
        (void)strtoull(p, &p, 10); /* skip */
    return (double)strtoull(p, NULL, 10) * (double)sysconf(_SC_PAGESIZE);
}

static double read_virtual(void *context)
{
    (void)context;
    return read_statm(0);
}

static double read_resident(void *context)
{
    (void)context;
    return read_statm(1);
}

/* Field `number` of /proc/self/stat, counted as in proc(5); the second may hold blanks. */
static double read_stat(int number)
{
    char text[1024];
    const char *p;

    if (!read_proc("/proc/self/stat", text, sizeof text) || (p = strrchr(text, ')')) == NULL)
        return 0;
    for (int i = 2; i < number && p != NULL; i++)
        p = strchr(p + 1, ' ');
    return p != NULL ? (double)strtoull(p + 1, NULL, 10) : 0;
}

static double read_threads(void *context)
{
    (void)context;
    return read_stat(20);
}

static double read_open_fds(void *context)
{
    DIR *dir = opendir("/proc/self/fd");
    double n = -3; /* ".", ".." and the directory's own */

    (void)context;
    if (dir == NULL)
        return 0;
    while (readdir(dir) != NULL)
        n++;
    (void)closedir(dir); /* read only */
    return n;
}

static double read_max_fds(void *context)
{
    struct rlimit limit;

    (void)context;
    (void)getrlimit(RLIMIT_NOFILE, &limit); /* cannot fail */
    return (double)limit.rlim_cur;
}

/* When the process began: ticks since boot, made wall time once at registration. */
static double start_time(void)
{
    struct timespec wall, boot;

    (void)clock_gettime(CLOCK_REALTIME, &wall); /* cannot fail on Linux */
    (void)clock_gettime(CLOCK_BOOTTIME, &boot); /* cannot fail on Linux */

    double now = (double)wall.tv_sec + (double)wall.tv_nsec * 1e-9;
    double up = (double)boot.tv_sec + (double)boot.tv_nsec * 1e-9;

    return now - up + read_stat(22) / (double)sysconf(_SC_CLK_TCK);
}

enum enso_status enso_metrics_add_process(struct enso_metrics *m, struct enso_error *err)
{
    static const struct {
        enum enso_metrics_type type;
        const char *name, *help;
        enso_metrics_read_fn read;
    } table[] = {
        {ENSO_METRICS_COUNTER, "process_cpu_seconds_total",
         "Processor time used, user and system, in seconds.", read_cpu},
        {ENSO_METRICS_GAUGE, "process_resident_memory_bytes", "Resident memory in bytes.",
         read_resident},
        {ENSO_METRICS_GAUGE, "process_virtual_memory_bytes", "Virtual memory in bytes.",
         read_virtual},
        {ENSO_METRICS_GAUGE, "process_open_fds", "Open file descriptors.", read_open_fds},
        {ENSO_METRICS_GAUGE, "process_max_fds", "Most file descriptors allowed.", read_max_fds},
        {ENSO_METRICS_GAUGE, "process_threads", "Threads.", read_threads},
    };
    struct enso_metrics_family *f;

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(table); i++) {
        struct enso_metrics_spec spec = {
            .type = table[i].type, .name = table[i].name, .help = table[i].help};

        f = enso_metrics_add(m, &spec, err);
        if (f == NULL || !enso_metrics_callback(f, NULL, table[i].read, NULL))
            return enso_error_no_memory(err, "process metrics");
    }
    f = enso_metrics_add(
        m,
        &(struct enso_metrics_spec){.type = ENSO_METRICS_GAUGE,
                                    .name = "process_start_time_seconds",
                                    .help = "Start of the process in seconds since 1970."},
        err);

    struct enso_gauge *g = f != NULL ? enso_metrics_gauge(f, NULL) : NULL;

    if (g == NULL)
        return enso_error_no_memory(err, "process metrics");
    enso_gauge_set(g, (int64_t)start_time());
    return ENSO_OK;
}

enum enso_status enso_metrics_add_build_info(struct enso_metrics *m, const char *name,
                                             const char *const *labels, const char *const *values,
                                             struct enso_error *err)
{
    struct enso_metrics_spec spec = {.type = ENSO_METRICS_GAUGE,
                                     .name = name,
                                     .help = "What is running; the value is always 1."};

    for (size_t i = 0; i < ENSO_METRICS_LABELS && labels[i] != NULL; i++)
        spec.labels[i] = labels[i];

    struct enso_metrics_family *f = enso_metrics_add(m, &spec, err);

    if (f == NULL)
        return err != NULL && err->status != ENSO_OK ? err->status : ENSO_INVALID;

    struct enso_gauge *g = enso_metrics_gauge(f, values);

    if (g == NULL)
        return enso_error_no_memory(err, "build info");
    enso_gauge_set(g, 1);
    return ENSO_OK;
}
