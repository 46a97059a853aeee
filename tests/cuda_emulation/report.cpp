/* SPDX-License-Identifier: Apache-2.0
 *
 * What a card would answer with wrong numbers, a hang or "an illegal memory access" ends the
 * process here with a sentence that names kernel, block, thread and memory. Faults of the processor
 * come in on a signal stack of their own, as the overflow of a thread's stack is one of them.
 */
#include "tests/cuda_emulation/emulator.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

namespace enso_emulated
{

namespace
{
constexpr size_t SIGNAL_STACK_BYTES = 256 * 1024;
const int signals[] = {SIGSEGV, SIGBUS, SIGFPE};
struct sigaction before[3];
bool installed;
stack_t signal_stack, stack_before;
pthread_t launcher;

bool writes(const void *context)
{
#if defined(__x86_64__)
    return (static_cast<const ucontext_t *>(context)->uc_mcontext.gregs[REG_ERR] & 2) != 0;
#else
    (void)context;
    return false;
#endif
}

void on_fault(int number, siginfo_t *info, void *context)
{
    char where[256];

    if (launched.running != nullptr && pthread_equal(pthread_self(), launcher)) {
        if (number == SIGFPE)
            report("an integer is divided by zero");
        if (stack_overflowed(info->si_addr))
            report("the thread's stack overflows");
        if (memory_describe(info->si_addr, where, sizeof(where)) ||
            shared_describe(info->si_addr, where, sizeof(where)))
            report("%s %s", writes(context) ? "writes" : "reads", where);
        report("%s address %p, which is no memory of the device",
               writes(context) ? "writes" : "reads", info->si_addr);
    }
    if (number != SIGFPE && memory_describe(info->si_addr, where, sizeof(where)))
        fprintf(stderr, "CUDA emulation: the host %s %s\n", writes(context) ? "writes" : "reads",
                where);
    /* Not ours: the instruction runs again under whoever was asked before. */
    for (int i = 0; i < 3; i++)
        sigaction(signals[i], &before[i], nullptr);
}

void finish(const char *format, va_list args)
{
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    fflush(stderr);
    abort();
}

} // namespace

void report(const char *format, ...)
{
    char who[128];
    va_list args;

    describe_thread(who, sizeof(who));
    fprintf(stderr, "CUDA emulation: kernel %s, %s: ",
            launched.running != nullptr ? launched.running->name : "?", who);
    va_start(args, format);
    finish(format, args);
    va_end(args);
    abort();
}

void report_launch(const char *format, ...)
{
    va_list args;

    if (launched.running != nullptr)
        fprintf(stderr, "CUDA emulation: kernel %s: ", launched.running->name);
    else
        fprintf(stderr, "CUDA emulation: after kernel %s: ",
                launched.last != nullptr ? launched.last->name : "(none)");
    va_start(args, format);
    finish(format, args);
    va_end(args);
    abort();
}

void report_arm(void)
{
    if (!installed) {
        struct sigaction action = {};

        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        for (int i = 0; i < 3; i++)
            sigaction(signals[i], &action, &before[i]);
        signal_stack.ss_sp = mmap(nullptr, SIGNAL_STACK_BYTES, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        signal_stack.ss_size = SIGNAL_STACK_BYTES;
        installed = true;
    }
    launcher = pthread_self();
    sigaltstack(&signal_stack, &stack_before);
}

void report_disarm(void)
{
    sigaltstack(&stack_before, nullptr);
}

} // namespace enso_emulated
