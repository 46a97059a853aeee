/* SPDX-License-Identifier: Apache-2.0
 *
 * Class scores in answers: the best k of a row, written as label and score.
 */
#ifndef ENSO_SERVER_SCORES_H
#define ENSO_SERVER_SCORES_H

#include <stdint.h>

#include "base/buffer.h"
#include "server/request.h"

/* Indices of the k largest of n scores (k = 0 or > n: all), best first, equal ones by index, NaN
 * last, in memory of the request; NULL when out of memory. *ret_k is how many. */
uint32_t *enso_scores_top(struct enso_request *req, const float *scores, uint32_t n, uint32_t k,
                          uint32_t *ret_k);

/* [{"label":"x","score":0.97},...] */
void enso_scores_write(struct enso_buffer *b, const struct enso_model_info *info,
                       const float *scores, const uint32_t *top, uint32_t k);

#endif
