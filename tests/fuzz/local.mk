# Build fragment of tests/fuzz/: see tests/local.mk.
