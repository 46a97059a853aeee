/* SPDX-License-Identifier: Apache-2.0
 *
 * Stacks that one thread of the host switches between: what CUDA threads run on. A stack ends at a
 * guard page, so that an overflow is a fault the emulator can name. The sanitizers are told of each
 * switch. For ThreadSanitizer the emulator is compiled with ENSO_EMULATED_TSAN and without
 * -fsanitize=thread: kernels are watched, the emulator's own bookkeeping is not.
 */
#ifndef ENSO_EMULATION_FIBER_H
#define ENSO_EMULATION_FIBER_H

#include <stddef.h>

namespace enso_emulated
{

struct fiber {
    void *stack_pointer; /* while it does not run */
    char *base;          /* lowest usable byte; NULL: the host thread's own stack */
    size_t bytes;
    void *race_detector; /* its thread in ThreadSanitizer's eyes */
    void *address_sanitizer;
    fiber *next_free;
};

/* A fiber that runs entry() when first switched to; entry never returns. Ends the process when
 * there is no memory. */
void fiber_create(fiber *f, void (*entry)(void));
void fiber_destroy(fiber *f);
/* The running thread as a fiber, to switch back to. */
void fiber_adopt_host(fiber *host);
/* Leave `from`, go on in `to`; returns when somebody switches to `from`. */
void fiber_switch(fiber *from, fiber *to);
/* First thing in entry. */
void fiber_entered(fiber *self);
/* The guard page below f holds this address. */
bool fiber_overflowed(const fiber *f, const void *address);

} // namespace enso_emulated

#endif
