# Build fragment of tests/base/: see tests/local.mk.
