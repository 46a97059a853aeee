/* SPDX-License-Identifier: Apache-2.0
 *
 * Lower case of whole texts, as Python's str.lower() makes it: what sentence-transformers does to
 * a text before its tokenizer sees it, when sentence_bert_config.json says do_lower_case.
 *
 * Source: Unicode, section 3.13, toLowercase(X), with the one rule that looks around: a capital
 * sigma that ends a word (Final_Sigma) is a final one. Pure, safe from any thread.
 */
#ifndef ENSO_ENGINE_TEXT_LOWER_H
#define ENSO_ENGINE_TEXT_LOWER_H

#include <stddef.h>

#include "base/error.h"

/* *ret_text is the caller's (enso_free), not terminated. ENSO_INVALID when text is not UTF-8 (text
 * may be NULL when size is 0), ENSO_NO_MEMORY. */
int enso_text_lower(const char *text, size_t size, char **ret_text, size_t *ret_size,
                    struct enso_error *err) ENSO_MUST_CHECK;

#endif
