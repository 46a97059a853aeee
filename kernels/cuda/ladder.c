/* SPDX-License-Identifier: Apache-2.0
 *
 * Sizes of batches: see ladder.h.
 */
#include "ensod_build.h"

#include "kernels/cuda/ladder.h"

#include "base/macros.h"

/* Steps in which tokens are rounded up. */
#define TOKEN_STEP 64
#define FINE_TOKEN_STEP 16
#define FINE_TOKENS 128 /* below this */

void enso__ladder_learn(struct enso__ladder *ladder, unsigned long_percent, uint64_t compute_ns,
                        uint64_t enqueue_ns)
{
    if (enqueue_ns != 0 && (ladder->least_enqueue_ns == 0 || enqueue_ns < ladder->least_enqueue_ns))
        ladder->least_enqueue_ns = enqueue_ns;
    if (ladder->least_enqueue_ns != 0)
        ladder->is_long = compute_ns > ladder->least_enqueue_ns * long_percent / 100;
}

static int64_t round_to(int64_t n, int64_t step)
{
    return (n + step - 1) / step * step; /* below the capacity, which can be addressed */
}

void enso__ladder_round_up(const struct enso__ladder *ladder, const struct enso_extents *capacity,
                           struct enso_extents *extents)
{
    int64_t step = extents->n_tokens < FINE_TOKENS ? FINE_TOKEN_STEP : TOKEN_STEP;

    if (capacity->n_tokens == 0 || (ladder != NULL && ladder->is_long))
        return;
    extents->n_tokens = ENSO_MIN(round_to(extents->n_tokens, step), capacity->n_tokens);
    if (capacity->n_sequences != 0)
        extents->n_sequences = capacity->n_sequences;
}
