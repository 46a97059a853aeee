/* SPDX-License-Identifier: Apache-2.0
 *
 * The models with random weights below tests/engine/model/golden, each with an expected.json, and
 * copies of them with something changed.
 */
#ifndef ENSO_TESTS_GOLDEN_RIG_H
#define ENSO_TESTS_GOLDEN_RIG_H

#include <stdbool.h>

#include "tests/engine/model/model_rig.h"

/* The folder of a case; free() it. What is expected of the model in a folder; json_decref it. */
char *golden_folder(const char *name);
json_t *golden_expected(const char *folder);

/* A rig for such a folder; false, with a line, when this processor lacks the instructions. */
bool golden_open(struct model_rig *rig, const char *folder, const char *isa, unsigned n_threads);

/* A fresh folder: a copy of a case (base NULL: empty), with one change (file NULL: none). For
 * enso_test_remove_dir. */
char *golden_copy(const char *base, const char *file, const char *from, const char *to);
/* Replace the first `from` in a file by `to`; from NULL: the whole content; to NULL: no file. */
void golden_change_file(const char *path, const char *from, const char *to);

#endif
