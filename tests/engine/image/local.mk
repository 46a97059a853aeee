# Build fragment of tests/engine/image/: see tests/local.mk.
