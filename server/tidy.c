/* SPDX-License-Identifier: Apache-2.0
 *
 * Giving memory back: see tidy.h. malloc_trim walks the free memory of all arenas (some 10 ms for a
 * gigabyte), so it is called only when much was freed since the last time, and not while large
 * requests are on their way.
 */
#include "server/tidy.h"

#include <malloc.h>

#include "base/memory.h"
#include "server/budget.h"
#include "server/loop.h"

#define WORTH_BYTES ((size_t)8 << 20)       /* freed since the last time */
#define BUSY_BYTES ((size_t)4 << 20)        /* in requests: not quiet yet */
#define CONNECTION_BYTES ((size_t)36 << 10) /* libmicrohttpd's pool and our own */
#define QUIET_MS 2000

struct enso_tidy {
    const struct enso_budget *budget;
    struct enso_timer *timer;
    size_t freed_bytes; /* since the last time, about */
    size_t most_connections;
    uint64_t n_trims;
};

static void give_back(void *user)
{
    struct enso_tidy *t = user;

    if (enso_budget_used(t->budget) > BUSY_BYTES) {
        enso_timer_start(t->timer, QUIET_MS, 0);
        return;
    }
    t->freed_bytes = 0;
    t->n_trims++;
#ifdef __GLIBC__
    (void)malloc_trim(0); /* tells whether there was anything */
#endif
}

static void freed(struct enso_tidy *t, size_t bytes)
{
    t->freed_bytes += ENSO_MIN(bytes, SIZE_MAX - t->freed_bytes);
    if (t->freed_bytes >= WORTH_BYTES && !enso_timer_is_running(t->timer))
        enso_timer_start(t->timer, QUIET_MS, 0);
}

/* Small requests use again what small requests left: counting them would trim for ever. */
void enso_tidy_request(struct enso_tidy *t, size_t bytes)
{
    if (bytes >= WORTH_BYTES / 64)
        freed(t, bytes);
}

void enso_tidy_connections(struct enso_tidy *t, size_t n)
{
    if (n > t->most_connections)
        t->most_connections = n;
    else if ((t->most_connections - n) * CONNECTION_BYTES >= WORTH_BYTES) {
        freed(t, (t->most_connections - n) * CONNECTION_BYTES);
        t->most_connections = n;
    }
}

uint64_t enso_tidy_n_trims(const struct enso_tidy *t)
{
    return t->n_trims;
}

int enso_tidy_create(struct enso_loop *loop, const struct enso_budget *budget,
                     struct enso_tidy **ret_tidy, struct enso_error *err)
{
    struct enso_tidy *t = enso_alloc_zero(1, sizeof *t);

    if (t == NULL)
        return enso_error_no_memory(err, "the tidying of memory");
    t->budget = budget;
    t->timer = enso_timer_create(loop, give_back, t, err);
    if (t->timer == NULL) {
        enso_free(t);
        return ENSO_NO_MEMORY;
    }
    *ret_tidy = t;
    return ENSO_OK;
}

void enso_tidy_destroy(struct enso_tidy *t)
{
    if (t == NULL)
        return;
    enso_timer_destroy(t->timer);
    enso_free(t);
}
