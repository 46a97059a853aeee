# Build fragment of tests/parity/: see tests/local.mk.

EXTRA_DIST += tests/parity/make_tokenizer_golden.py tests/parity/make_unicode_tables.py tests/parity/tokenizers_parity.py
