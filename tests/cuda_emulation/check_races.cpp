/* SPDX-License-Identifier: Apache-2.0
 *
 * The broken kernels under ThreadSanitizer, where each CUDA thread is a thread of its own that only
 * barriers, warp functions and launches order: it must find the races in those that have one, and
 * none in the right twins. Built with -fsanitize=thread whatever the other programs are built with;
 * a race ends a process, so each case runs this program again.
 */
#include "kernels/cuda/device.cuh"
#include "tests/cuda_emulation/wrong/wrong.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define FOUND_A_RACE 66

extern "C" const char *__tsan_default_options(void);
extern "C" const char *__tsan_default_options(void)
{
    return "exitcode=66:halt_on_error=1:atexit_sleep_ms=0";
}

/* With "right" as its argument: all right twins; with a number: that wrong case. */
static int run_case(enum wrong_case which, bool right)
{
    const size_t n_out = WRONG_OUT_ITEMS(which);
    float x[WRONG_ITEMS], *in, *out;
    cudaStream_t stream;

    for (unsigned i = 0; i < WRONG_ITEMS; i++)
        x[i] = (float)i;
    if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess ||
        cudaMalloc(reinterpret_cast<void **>(&in), sizeof(x)) != cudaSuccess ||
        cudaMalloc(reinterpret_cast<void **>(&out), n_out * sizeof(float)) != cudaSuccess ||
        cudaMemcpyAsync(in, x, sizeof(x), cudaMemcpyHostToDevice, stream) != cudaSuccess ||
        wrong_launch(which, right, in, out, stream) != cudaSuccess ||
        cudaMemcpyAsync(x, out, sizeof(x), cudaMemcpyDeviceToHost, stream) != cudaSuccess)
        return 3;
    for (unsigned i = 0; right && i < WRONG_ITEMS; i++)
        if (x[i] != wrong_expected(which, i))
            return 4;
    return 0;
}

/* Exit status of this program with one argument. */
static int run_child(const char *self, const char *argument)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        if (freopen("/dev/null", "w", stderr) != nullptr)
            execl(self, self, argument, static_cast<char *>(nullptr));
        _exit(5);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return 5;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* All right twins in one process; which one failed stands in the report. */
static int run_right_twins(void)
{
    int failed = 0;

    for (int which = 0; which <= WRONG_LAST && failed == 0; which++)
        failed = run_case(static_cast<enum wrong_case>(which), true);
    return failed;
}

int main(int argc, char **argv)
{
    static const char *const seeds[] = {"0", "1", "4"};
    int n = 0, failed = 0;

    if (argc == 2)
        return argv[1][0] == 'r' ? run_right_twins()
                                 : run_case(static_cast<enum wrong_case>(atoi(argv[1])), false);
    for (const char *seed : seeds) {
        setenv("ENSO_CUDA_EMULATED_SEED", seed, 1);
        n++;
        if (run_child(argv[0], "right") != 0) {
            failed++;
            printf("right twins, seed %s: a race or a wrong result\n", seed);
        }
        for (int which = 0; which <= WRONG_LAST_RACE; which++) {
            char number[16];

            snprintf(number, sizeof(number), "%d", which);
            n++;
            if (run_child(argv[0], number) != FOUND_A_RACE) {
                failed++;
                printf("%s, seed %s: no race found\n",
                       wrong_name(static_cast<enum wrong_case>(which)), seed);
            }
        }
    }
    printf("%d%%: Checks: %d, Failures: %d, Errors: 0\n", 100 * (n - failed) / n, n, failed);
    return failed == 0 ? 0 : 1;
}
