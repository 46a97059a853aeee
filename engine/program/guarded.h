/* SPDX-License-Identifier: Apache-2.0
 *
 * ENSO_ARENA_DEBUG: a batch in which every input, every result and every step's scratch memory has
 * memory of its own, so that a wrong plan or kernel shows. Private to engine/program.
 *
 * Memory holds NaN until somebody writes it. A result holds NaN again after the last step that
 * reads it, as the plan has it. On ordinary memory each piece ends at a page that faults, and what
 * is past its last reader faults too. Elsewhere a strip stands before and behind each piece, looked
 * at after every step: who writes there fails the batch with the node's name. An emulated card has
 * guard pages of its own behind the strips.
 *
 * Steps run one at a time and are waited for; nothing is recorded.
 */
#ifndef ENSO_ENGINE_PROGRAM_GUARDED_H
#define ENSO_ENGINE_PROGRAM_GUARDED_H

#include "engine/program/program_internal.h"

/* Run all steps of the plan's program. run: extents, and tensors with this batch's dims and the
 * constants' data; the rest is not looked at, and nothing of it is changed. inputs, outputs: [of
 * the program] in ordinary memory; an output of NULL is not copied there. The lane's slot 0 must be
 * free. ENSO_INTERNAL: a step wrote beside its memory. */
int enso__guarded_run(const struct enso_plan *plan, struct enso_lane *lane,
                      const struct enso_run *run, const void *const *inputs, void *const *outputs,
                      struct enso_error *err) ENSO_MUST_CHECK;

#endif
