/* SPDX-License-Identifier: Apache-2.0
 *
 * The nearest of several names: see options.h.
 */
#include "config/options.h"

#include <string.h>

#define LONGEST_NAME 64

/* Edit distance with transpositions of neighbours (optimal string alignment); names are short. */
static size_t distance(const char *a, size_t n, const char *b, size_t m)
{
    size_t rows[3][LONGEST_NAME + 1];

    for (size_t j = 0; j <= m; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = up[j - 1] + (a[i - 1] != b[j - 1]);

            best = ENSO_MIN(best, up[j] + 1);
            best = ENSO_MIN(best, row[j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = ENSO_MIN(best, up2[j - 2] + 1);
            row[j] = best;
        }
    }
    return rows[n % 3][m];
}

const char *enso_option_nearest(const char *name, const char *const *candidates, size_t n)
{
    size_t length = strlen(name), best = 0;
    const char *nearest = NULL;

    if (length == 0 || length > LONGEST_NAME)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t m = strlen(candidates[i]);
        size_t d = m <= LONGEST_NAME ? distance(name, length, candidates[i], m) : SIZE_MAX;

        /* far names would be noise: at most a third of it may differ */
        if (d <= ENSO_MAX(ENSO_MAX(length, m) / 3, (size_t)1) && (nearest == NULL || d < best)) {
            nearest = candidates[i];
            best = d;
        }
    }
    return nearest;
}
