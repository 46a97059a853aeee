# Build fragment of tests/server/: see tests/local.mk.
