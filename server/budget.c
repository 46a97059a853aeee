/* SPDX-License-Identifier: Apache-2.0
 *
 * The budget of memory for requests: see budget.h.
 */
#include "server/budget.h"

#include <assert.h>
#include <stdatomic.h>

#include "base/memory.h"

struct enso_budget {
    atomic_size_t used;
    size_t limit;
    atomic_uint_fast64_t refused;
};

struct enso_budget *enso_budget_create(size_t limit_bytes)
{
    struct enso_budget *budget = enso_alloc_zero(1, sizeof *budget);

    if (budget == NULL)
        return NULL;
    atomic_init(&budget->used, 0);
    atomic_init(&budget->refused, 0);
    budget->limit = limit_bytes != 0 ? limit_bytes : SIZE_MAX;
    return budget;
}

void enso_budget_destroy(struct enso_budget *budget)
{
    enso_free(budget);
}

bool enso_budget_take(struct enso_budget *budget, size_t bytes)
{
    size_t used;

    if (budget == NULL)
        return true;
    used = atomic_load_explicit(&budget->used, memory_order_relaxed);
    do {
        if (used > budget->limit || bytes > budget->limit - used) {
            atomic_fetch_add_explicit(&budget->refused, 1, memory_order_relaxed);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&budget->used, &used, used + bytes,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

void enso_budget_charge(struct enso_budget *budget, size_t bytes)
{
    if (budget != NULL)
        atomic_fetch_add_explicit(&budget->used, bytes, memory_order_relaxed);
}

void enso_budget_give(struct enso_budget *budget, size_t bytes)
{
    size_t before;

    if (budget == NULL || bytes == 0)
        return;
    before = atomic_fetch_sub_explicit(&budget->used, bytes, memory_order_relaxed);
    assert(before >= bytes); /* gave back more than was taken */
    (void)before;
}

size_t enso_budget_used(const struct enso_budget *budget)
{
    return budget != NULL ? atomic_load_explicit(&budget->used, memory_order_relaxed) : 0;
}

size_t enso_budget_limit(const struct enso_budget *budget)
{
    return budget != NULL ? budget->limit : SIZE_MAX;
}

uint64_t enso_budget_refused(const struct enso_budget *budget)
{
    return budget != NULL ? atomic_load_explicit(&budget->refused, memory_order_relaxed) : 0;
}
