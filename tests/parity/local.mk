# Build fragment of tests/parity/: see tests/local.mk.
