# Build fragment of tests/kernels/: see tests/local.mk.
