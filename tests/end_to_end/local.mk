# Build fragment of tests/end_to_end/: see tests/local.mk.
