/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that comes back: after large requests or many connections the allocator keeps what they
 * took, spread over its arenas, for a next time that may never come. Once things are quiet again
 * it is asked to give the pages back. An idle daemon wakes up for this once, then never.
 *
 * Loop thread.
 */
#ifndef ENSO_SERVER_TIDY_H
#define ENSO_SERVER_TIDY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct enso_budget;
struct enso_loop;
struct enso_tidy;

int enso_tidy_create(struct enso_loop *loop, const struct enso_budget *budget,
                     struct enso_tidy **ret_tidy, struct enso_error *err);
void enso_tidy_destroy(struct enso_tidy *tidy); /* NULL is fine */

/* A request that took so many bytes is gone. */
void enso_tidy_request(struct enso_tidy *tidy, size_t bytes);
/* So many connections are open. Cheap: once a turn. */
void enso_tidy_connections(struct enso_tidy *tidy, size_t n);

/* How often memory was given back; for tests. */
uint64_t enso_tidy_n_trims(const struct enso_tidy *tidy);

#endif
