/* SPDX-License-Identifier: Apache-2.0
 *
 * batching/heap: against a plain array, with random pushes and removals.
 */
#include "batching/heap.h"

#include <check.h>
#include <stdlib.h>

#include "base/macros.h"

#define N 2000

struct entry {
    struct enso_heap_node node;
    unsigned key;
    bool in;
};

static struct entry entries[N];
static uint32_t state = 1;

static unsigned next_random(void)
{
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

static bool before(const struct enso_heap_node *a, const struct enso_heap_node *b)
{
    return ENSO_CONTAINER_OF(a, const struct entry, node)->key <
           ENSO_CONTAINER_OF(b, const struct entry, node)->key;
}

START_TEST(test_heap_gives_entries_in_order)
{
    struct enso_heap heap;
    unsigned i, last = 0;

    enso_heap_init(&heap, before);
    ck_assert_ptr_null(heap.first);
    for (i = 0; i < N; i++) {
        entries[i].key = next_random() % 1000;
        enso_heap_push(&heap, &entries[i].node);
    }
    for (i = 0; i < N; i++) {
        struct entry *e = ENSO_CONTAINER_OF(heap.first, struct entry, node);

        ck_assert_uint_ge(e->key, last);
        last = e->key;
        enso_heap_remove(&heap, heap.first);
    }
    ck_assert_ptr_null(heap.first);
}
END_TEST

START_TEST(test_heap_random_removals)
{
    struct enso_heap heap;
    unsigned round, i;

    enso_heap_init(&heap, before);
    for (round = 0; round < 20000; round++) {
        struct entry *e = &entries[next_random() % 64];
        unsigned least = UINT32_MAX;

        if (e->in) {
            enso_heap_remove(&heap, &e->node);
        } else {
            e->key = next_random() % 100;
            enso_heap_push(&heap, &e->node);
        }
        e->in = !e->in;
        for (i = 0; i < 64; i++)
            if (entries[i].in)
                least = ENSO_MIN(least, entries[i].key);
        if (least == UINT32_MAX)
            ck_assert_ptr_null(heap.first);
        else
            ck_assert_uint_eq(ENSO_CONTAINER_OF(heap.first, struct entry, node)->key, least);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("batching/heap");
    TCase *core = tcase_create("core");
    SRunner *runner;
    int failed;

    tcase_add_test(core, test_heap_gives_entries_in_order);
    tcase_add_test(core, test_heap_random_removals);
    suite_add_tcase(s, core);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
