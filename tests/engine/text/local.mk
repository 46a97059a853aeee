# Tests of the tokenizers, which need no kernels.
TEXT_LIBS = engine/libengine.a $(UTF8PROC_LIBS) $(BASE_LIBS)

# For tests/parity/tokenizers_parity.py.
check_PROGRAMS += tests/engine/text/tokenize_cli
tests_engine_text_tokenize_cli_SOURCES = tests/engine/text/tokenize_cli.c
tests_engine_text_tokenize_cli_LDADD = $(TEXT_LIBS)
