/* SPDX-License-Identifier: Apache-2.0
 *
 * The best k of a row: see scores.h. Few are wanted as a rule, so small k go by insertion into a
 * sorted list of k; large k by sorting all.
 */
#include "server/scores.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"

#define INSERTION_MAX 32

struct ranked {
    float score;
    uint32_t index;
};

/* Does a come before b? */
static bool before(const struct ranked *a, const struct ranked *b)
{
    if (isnan(a->score) || isnan(b->score))
        return !isnan(a->score) || (isnan(b->score) && a->index < b->index);
    return a->score > b->score || (a->score == b->score && a->index < b->index);
}

static int compare(const void *a, const void *b)
{
    return before(a, b) ? -1 : before(b, a) ? 1 : 0;
}

static void insert_all(const float *scores, uint32_t n, struct ranked *best, uint32_t k)
{
    uint32_t have = 0;

    for (uint32_t i = 0; i < n; i++) {
        struct ranked r = {scores[i], i};
        uint32_t at = have;

        if (have == k && !before(&r, &best[k - 1]))
            continue;
        while (at > 0 && before(&r, &best[at - 1]))
            at--;
        have = ENSO_MIN(have + 1, k);
        memmove(&best[at + 1], &best[at], (have - 1 - at) * sizeof *best);
        best[at] = r;
    }
}

uint32_t *enso_scores_top(struct enso_request *req, const float *scores, uint32_t n, uint32_t k,
                          uint32_t *ret_k)
{
    bool insert;
    struct ranked *ranked;
    uint32_t *top;

    if (k == 0 || k > n)
        k = n;
    insert = k <= INSERTION_MAX;
    ranked = enso_request_alloc(req, (insert ? k : n) + 1, sizeof *ranked);
    top = enso_request_alloc(req, k + 1, sizeof *top);
    if (ranked == NULL || top == NULL)
        return NULL;
    if (insert) {
        insert_all(scores, n, ranked, k);
    } else {
        for (uint32_t i = 0; i < n; i++)
            ranked[i] = (struct ranked){scores[i], i};
        qsort(ranked, n, sizeof *ranked, compare);
    }
    for (uint32_t i = 0; i < k; i++)
        top[i] = ranked[i].index;
    *ret_k = k;
    return top;
}

void enso_scores_write(struct enso_buffer *b, const struct enso_model_info *info,
                       const float *scores, const uint32_t *top, uint32_t k)
{
    enso_buffer_putc(b, '[');
    for (uint32_t i = 0; i < k; i++) {
        const char *label = info->labels[top[i]];

        enso_buffer_puts(b, i != 0 ? ",{\"label\":" : "{\"label\":");
        enso_buffer_put_json_string(b, label, strlen(label));
        enso_buffer_puts(b, ",\"score\":");
        enso_buffer_put_f32(b, scores[top[i]]);
        enso_buffer_putc(b, '}');
    }
    enso_buffer_putc(b, ']');
}
