/* SPDX-License-Identifier: Apache-2.0
 *
 * Switching stacks by hand: a dozen instructions, where swapcontext() would make two system calls.
 * See fiber.h.
 */
#include "tests/cuda_emulation/fiber.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define ENSO_EMULATED_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ENSO_EMULATED_ASAN 1
#endif
#endif

extern "C" {
/* Push what a call must keep, store the stack pointer in *from, take `to`, pop, return there. */
void enso_emulated_switch(void **from, void *to);
#ifdef ENSO_EMULATED_ASAN
void __sanitizer_start_switch_fiber(void **save, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *saved, const void **old_bottom, size_t *old_size);
#endif
#ifdef ENSO_EMULATED_TSAN
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
#endif
}

#if defined(__x86_64__)
__asm__(R"(
.text
.globl enso_emulated_switch
.hidden enso_emulated_switch
.type enso_emulated_switch, @function
enso_emulated_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size enso_emulated_switch, .-enso_emulated_switch
)");
#elif defined(__aarch64__)
__asm__(R"(
.text
.globl enso_emulated_switch
.hidden enso_emulated_switch
.type enso_emulated_switch, %function
enso_emulated_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
.size enso_emulated_switch, .-enso_emulated_switch
)");
#else
#error                                                                                             \
    "the emulation of CUDA switches stacks by hand: write enso_emulated_switch for this processor"
#endif

namespace enso_emulated
{

namespace
{
/* Room for kernels' local arrays; instrumented builds need several times as much. Untouched pages
 * cost nothing. */
#if defined(ENSO_EMULATED_ASAN) || defined(ENSO_EMULATED_TSAN)
constexpr size_t STACK_BYTES = 512 * 1024;
#else
constexpr size_t STACK_BYTES = 128 * 1024;
#endif
constexpr size_t GUARD_BYTES = 16 * 1024;

#ifdef ENSO_EMULATED_ASAN
fiber *left; /* the fiber that the switch under way left */
#endif

void *first_frame(char *top, void (*entry)(void))
{
    void **frame = reinterpret_cast<void **>(top);

#if defined(__x86_64__)
    *--frame = nullptr; /* entry's return address, which also aligns the stack as a call would */
    *--frame = reinterpret_cast<void *>(entry);
    for (int i = 0; i < 6; i++)
        *--frame = nullptr;
#else
    frame -= 20;
    memset(frame, 0, 20 * sizeof(*frame));
    frame[11] = reinterpret_cast<void *>(entry); /* x30 */
#endif
    return frame;
}

} // namespace

void fiber_create(fiber *f, void (*entry)(void))
{
    char *memory =
        static_cast<char *>(mmap(nullptr, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));

    if (memory == MAP_FAILED || mprotect(memory, GUARD_BYTES, PROT_NONE) != 0) {
        fprintf(stderr, "CUDA emulation: no memory for a thread's stack\n");
        abort();
    }
    memset(f, 0, sizeof(*f));
    f->base = memory + GUARD_BYTES;
    f->bytes = STACK_BYTES;
    f->stack_pointer = first_frame(f->base + f->bytes, entry);
#ifdef ENSO_EMULATED_TSAN
    f->race_detector = __tsan_create_fiber(0);
#endif
}

void fiber_destroy(fiber *f)
{
#ifdef ENSO_EMULATED_TSAN
    __tsan_destroy_fiber(f->race_detector);
#endif
    munmap(f->base - GUARD_BYTES, GUARD_BYTES + f->bytes);
    memset(f, 0, sizeof(*f));
}

void fiber_adopt_host(fiber *host)
{
#ifdef ENSO_EMULATED_TSAN
    host->race_detector = __tsan_get_current_fiber();
#endif
    host->next_free = nullptr;
}

void fiber_switch(fiber *from, fiber *to)
{
#ifdef ENSO_EMULATED_ASAN
    left = from;
    __sanitizer_start_switch_fiber(&from->address_sanitizer, to->base, to->bytes);
#endif
#ifdef ENSO_EMULATED_TSAN
    /* 1: a switch alone orders nothing between the two. */
    __tsan_switch_to_fiber(to->race_detector, 1);
#endif
    enso_emulated_switch(&from->stack_pointer, to->stack_pointer);
    fiber_entered(from);
}

void fiber_entered(fiber *self)
{
#ifdef ENSO_EMULATED_ASAN
    const void *bottom;
    size_t bytes;

    __sanitizer_finish_switch_fiber(self->address_sanitizer, &bottom, &bytes);
    /* The host's stack is known by leaving it for the first time. */
    if (left->base == nullptr) {
        left->base = static_cast<char *>(const_cast<void *>(bottom));
        left->bytes = bytes;
    }
#else
    (void)self;
#endif
}

bool fiber_overflowed(const fiber *f, const void *address)
{
    const char *a = static_cast<const char *>(address);

    return f->base != nullptr && a < f->base && a >= f->base - GUARD_BYTES;
}

} // namespace enso_emulated
