# Build fragment of tests/config/: see tests/local.mk.
