# Build fragment of tests/parity/: see tests/local.mk.

EXTRA_DIST += tests/parity/make_tokenizer_golden.py tests/parity/make_unicode_tables.py tests/parity/tokenizers_parity.py

# Not for make check (they need Python packages): tests/parity/run BUILD_DIR.
EXTRA_DIST += tests/parity/run tests/parity/parity.py tests/parity/transformers_parity.py \
	tests/parity/vision_parity.py tests/parity/examples_parity.py

EXTRA_DIST += tests/parity/clients_parity.py
