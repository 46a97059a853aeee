# Tests of the tokenizers, which need no kernels.
TEXT_LIBS = engine/libengine.a $(UTF8PROC_LIBS) $(BASE_LIBS)

# For tests/parity/tokenizers_parity.py.
check_PROGRAMS += tests/engine/text/tokenize_cli
tests_engine_text_tokenize_cli_SOURCES = tests/engine/text/tokenize_cli.c
tests_engine_text_tokenize_cli_LDADD = $(TEXT_LIBS)

check_PROGRAMS += tests/engine/text/check_tokenizer
TESTS += tests/engine/text/check_tokenizer
tests_engine_text_check_tokenizer_SOURCES = tests/engine/text/check_tokenizer.c
tests_engine_text_check_tokenizer_CFLAGS = $(TEST_CFLAGS)
tests_engine_text_check_tokenizer_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_text_check_tokenizer_LDADD = $(TEST_LIBS) $(TEXT_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/engine/text/check_tokenizer_load
TESTS += tests/engine/text/check_tokenizer_load
tests_engine_text_check_tokenizer_load_SOURCES = tests/engine/text/check_tokenizer_load.c
tests_engine_text_check_tokenizer_load_CFLAGS = $(TEST_CFLAGS)
tests_engine_text_check_tokenizer_load_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_text_check_tokenizer_load_LDADD = $(TEST_LIBS) $(TEXT_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/engine/text/check_text_unicode
TESTS += tests/engine/text/check_text_unicode
tests_engine_text_check_text_unicode_SOURCES = tests/engine/text/check_text_unicode.c
tests_engine_text_check_text_unicode_CFLAGS = $(TEST_CFLAGS)
tests_engine_text_check_text_unicode_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_text_check_text_unicode_LDADD = $(TEST_LIBS) $(TEXT_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/engine/text/check_lower
TESTS += tests/engine/text/check_lower
tests_engine_text_check_lower_SOURCES = tests/engine/text/check_lower.c
tests_engine_text_check_lower_CFLAGS = $(TEST_CFLAGS)
tests_engine_text_check_lower_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_text_check_lower_LDADD = $(TEST_LIBS) $(TEXT_LIBS) $(CHECK_LIBS)

EXTRA_DIST += tests/engine/text/golden/bert/tokenizer_config.json \
	tests/engine/text/golden/bert/vocab.txt \
	tests/engine/text/golden/cases.jsonl \
	tests/engine/text/golden/json/tokenizer.json
