# Build fragment of tests/engine/: see tests/local.mk.
