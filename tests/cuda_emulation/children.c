/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases in children; see children.h.
 */
#include "ensod_build.h"

#include "tests/cuda_emulation/children.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#ifdef __SANITIZE_THREAD__
/* Children leave at once: nobody else runs whom an exit could catch in a race. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "atexit_sleep_ms=0";
}
#endif

struct child run_child(void (*fn)(const void *arg), const void *arg, const char *card,
                       const char *seed)
{
    struct child c = {0};
    char rest[512];
    size_t n = 0;
    ssize_t got;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    fflush(NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        if (card != NULL)
            setenv("ENSO_CUDA_EMULATED", card, 1);
        if (seed != NULL)
            setenv("ENSO_CUDA_EMULATED_SEED", seed, 1);
        fn(arg);
        _exit(0);
    }
    close(ends[1]);
    /* To its end, so that a child that says more than there is room for is not killed by it. */
    while ((got = n + 1 < sizeof(c.said) ? read(ends[0], c.said + n, sizeof(c.said) - 1 - n)
                                         : read(ends[0], rest, sizeof(rest))) > 0)
        n = ENSO_MIN(n + (size_t)got, sizeof(c.said) - 1);
    close(ends[0]);
    ck_assert_int_eq(waitpid(pid, &c.status, 0), pid);
    return c;
}

void must_pass(void (*fn)(const void *arg), const void *arg, const char *card, const char *seed)
{
    struct child c = run_child(fn, arg, card, seed);

    ck_assert_msg(WIFEXITED(c.status) && WEXITSTATUS(c.status) == 0, "card %s, seed %s: %.3000s",
                  card != NULL ? card : "-", seed != NULL ? seed : "-", c.said);
}

void must_report(void (*fn)(const void *arg), const void *arg, const char *seed, const char *says)
{
    struct child c = run_child(fn, arg, NULL, seed);

    ck_assert_msg(WIFSIGNALED(c.status) && WTERMSIG(c.status) == SIGABRT &&
                      strstr(c.said, "CUDA emulation: ") != NULL && strstr(c.said, says) != NULL,
                  "seed %s, should say '%s': status %x: %.3000s", seed != NULL ? seed : "-", says,
                  c.status, c.said);
}

const char *const some_seeds[N_SEEDS] = {"0", "1", "2", "3", "4",  "5",
                                         "6", "7", "8", "9", "10", "11"};

void pass_with_all_seeds(void (*fn)(const void *arg), const void *arg)
{
    for (size_t i = 0; i < N_SEEDS; i++)
        must_pass(fn, arg, NULL, some_seeds[i]);
}

void report_with_all_seeds(void (*fn)(const void *arg), const void *arg, const char *says)
{
    for (size_t i = 0; i < N_SEEDS; i++)
        must_report(fn, arg, some_seeds[i], says);
}

cudaStream_t stream_new(void)
{
    cudaStream_t stream;

    MUST(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
    return stream;
}

void *device_new(size_t bytes)
{
    void *memory;

    MUST(cudaMalloc(&memory, bytes) == cudaSuccess);
    return memory;
}

void *pinned_new(size_t bytes)
{
    void *memory;

    MUST(cudaMallocHost(&memory, bytes) == cudaSuccess);
    return memory;
}

void up(void *device, const void *host, size_t bytes, cudaStream_t stream)
{
    MUST(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream) == cudaSuccess);
}

void down(void *host, const void *device, size_t bytes, cudaStream_t stream)
{
    MUST(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
    MUST(cudaStreamSynchronize(stream) == cudaSuccess);
}
