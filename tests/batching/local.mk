# Build fragment of tests/batching/: see tests/local.mk.
