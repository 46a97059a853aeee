/* SPDX-License-Identifier: Apache-2.0
 *
 * Thread team: see team.h. How a run works:
 *
 * The caller writes the job (plain fields) and then stores the number of chunks into `left`
 * (release). Whoever wants a chunk decrements `left` by compare-and-swap (acquire) and only then
 * reads the job. A successful claim proves that the job in the fields is the claimed chunk's: the
 * caller does not write the next job before all chunks are counted in `done`, and this one is not
 * yet. So a worker that wakes late or was descheduled can neither see a torn job nor hold up a run
 * whose chunks others have taken; the caller waits for claimed chunks only.
 *
 * Sleeping: a worker announces itself in `sleepers`, then looks at `left` again before it waits on
 * the futex `wake`; the caller stores `left`, then looks at `sleepers`. Both orders are
 * sequentially consistent, so at least one of them sees the other (Dekker).
 */
#include "ensod_build.h"

#include "kernels/cpu/team.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

#define SPIN_NS 30000
/* Looks at the flag between two looks at the clock. */
#define SPINS_PER_CLOCK 64

struct worker {
    struct enso_team *team;
    pthread_t thread;
    unsigned number;
};

struct enso_team {
    /* The job: written by the caller while left == 0 and every claimed chunk is done. */
    enso_team_fn fn;
    void *arg;
    size_t n, grain;
    uint32_t n_chunks;

    _Alignas(ENSO_CACHE_LINE) _Atomic uint32_t left; /* chunks not yet claimed */
    _Alignas(ENSO_CACHE_LINE) _Atomic uint32_t done; /* chunks finished */
    _Alignas(ENSO_CACHE_LINE) _Atomic uint32_t wake; /* futex of sleeping workers */
    _Atomic uint32_t sleepers;
    _Atomic uint32_t caller_sleeps; /* the caller waits on `done` */
    _Atomic bool stop;

    unsigned n_workers;
    struct worker workers[];
};

static void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    /* EAGAIN (the value moved) and EINTR both mean: look again, which the caller does. */
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int n)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

static inline void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* Claim and do chunks until there is none left. */
static void work(struct enso_team *team, unsigned thread)
{
    uint32_t left = atomic_load_explicit(&team->left, memory_order_relaxed);

    while (left > 0) {
        /* acquire: pairs with the caller's store of `left` through the chain of claims */
        if (!atomic_compare_exchange_weak_explicit(&team->left, &left, left - 1,
                                                   memory_order_acq_rel, memory_order_relaxed))
            continue;
        size_t chunk = team->n_chunks - left;
        size_t first = chunk * team->grain;
        size_t last = ENSO_MIN(first + team->grain, team->n);
        uint32_t n_chunks = team->n_chunks;

        team->fn(team->arg, first, last, thread);
        /* release: the caller reads what fn wrote. seq_cst for the sleeping protocol. */
        if (atomic_fetch_add(&team->done, 1) + 1 == n_chunks &&
            atomic_load(&team->caller_sleeps) != 0)
            futex_wake(&team->done, 1);
        left = atomic_load_explicit(&team->left, memory_order_relaxed);
    }
}

/* True when there is work or the end within the spinning time. */
static bool spin_for_work(struct enso_team *team)
{
    uint64_t end_ns = enso_clock_now_ns() + SPIN_NS;

    do {
        for (int i = 0; i < SPINS_PER_CLOCK; i++) {
            if (atomic_load_explicit(&team->left, memory_order_relaxed) > 0 ||
                atomic_load_explicit(&team->stop, memory_order_relaxed))
                return true;
            pause_briefly();
        }
    } while (enso_clock_now_ns() < end_ns);
    return false;
}

static void sleep_for_work(struct enso_team *team)
{
    uint32_t seen = atomic_load(&team->wake);

    atomic_fetch_add(&team->sleepers, 1);
    if (atomic_load(&team->left) == 0 && !atomic_load(&team->stop))
        futex_wait(&team->wake, seen);
    atomic_fetch_sub(&team->sleepers, 1);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct enso_team *team = w->team;
    char name[16];

    snprintf(name, sizeof(name), "ensod-cpu-%u", w->number);
    (void)pthread_setname_np(pthread_self(), name); /* only for people reading top */
    while (!atomic_load(&team->stop)) {
        work(team, w->number);
        if (!spin_for_work(team))
            sleep_for_work(team);
    }
    return NULL;
}

static void stop_workers(struct enso_team *team)
{
    atomic_store(&team->stop, true);
    atomic_fetch_add(&team->wake, 1);
    futex_wake(&team->wake, INT_MAX);
    for (unsigned i = 0; i < team->n_workers; i++)
        pthread_join(team->workers[i].thread, NULL);
}

int enso_team_create(unsigned n_threads, struct enso_team **ret_team, struct enso_error *err)
{
    if (n_threads < 1 || n_threads > ENSO_TEAM_MAX)
        return enso_error_set(err, ENSO_INVALID, "a team of %u threads was asked for; take 1 to %d",
                              n_threads, ENSO_TEAM_MAX);
    size_t bytes = sizeof(struct enso_team) + (n_threads - 1) * sizeof(struct worker);
    struct enso_team *team =
        enso_alloc_aligned(ENSO_CACHE_LINE, (bytes + ENSO_CACHE_LINE - 1) & ~(size_t)63);

    if (team == NULL)
        return enso_error_no_memory(err, "a thread team");
    memset(team, 0, bytes);

    /* Signals belong to the thread that handles them; workers start with all blocked. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = 0;
    for (unsigned i = 1; i < n_threads && rc == 0; i++) {
        struct worker *w = &team->workers[i - 1];

        *w = (struct worker){.team = team, .number = i};
        rc = pthread_create(&w->thread, NULL, worker_main, w);
        if (rc == 0)
            team->n_workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        unsigned started = team->n_workers;

        enso_team_destroy(team);
        return enso_error_set(err, ENSO_IO,
                              "cannot start thread %u of a team of %u: %s; raise the limit of "
                              "processes or give fewer threads",
                              started + 2, n_threads, strerror(rc));
    }
    *ret_team = team;
    return ENSO_OK;
}

void enso_team_destroy(struct enso_team *team)
{
    if (team == NULL)
        return;
    stop_workers(team);
    enso_free(team);
}

unsigned enso_team_size(const struct enso_team *team)
{
    return team == NULL ? 1 : team->n_workers + 1;
}

/* Wait until all chunks are done: the last may still be with a worker. */
static void wait_done(struct enso_team *team)
{
    uint64_t end_ns = enso_clock_now_ns() + SPIN_NS;

    while (atomic_load_explicit(&team->done, memory_order_acquire) != team->n_chunks) {
        for (int i = 0; i < SPINS_PER_CLOCK; i++) {
            if (atomic_load_explicit(&team->done, memory_order_acquire) == team->n_chunks)
                return;
            pause_briefly();
        }
        if (enso_clock_now_ns() < end_ns)
            continue;
        atomic_store(&team->caller_sleeps, 1);
        uint32_t done = atomic_load(&team->done);
        while (done != team->n_chunks) {
            futex_wait(&team->done, done);
            done = atomic_load(&team->done);
        }
        atomic_store(&team->caller_sleeps, 0);
        return;
    }
}

void enso_team_run(struct enso_team *team, size_t n, size_t grain, enso_team_fn fn, void *arg)
{
    if (n == 0)
        return;
    if (grain < n / (UINT32_MAX / 2))
        grain = n / (UINT32_MAX / 2) + 1; /* the count of chunks has 32 bits */
    if (team == NULL || team->n_workers == 0 || n <= grain) {
        fn(arg, 0, n, 0);
        return;
    }
    team->fn = fn;
    team->arg = arg;
    team->n = n;
    team->grain = grain;
    team->n_chunks = (uint32_t)((n + grain - 1) / grain);
    atomic_store_explicit(&team->done, 0, memory_order_relaxed);
    atomic_store(&team->left, team->n_chunks);
    if (atomic_load(&team->sleepers) > 0) {
        atomic_fetch_add(&team->wake, 1);
        futex_wake(&team->wake, (int)ENSO_MIN(team->n_workers, team->n_chunks - 1));
    }
    work(team, 0);
    wait_done(team);
}
