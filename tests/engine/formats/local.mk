# Build fragment of tests/engine/formats/: see tests/local.mk.
