# Build fragment of tests/engine/model/: see tests/local.mk.
