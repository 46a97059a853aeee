# Build fragment of kernels/: see Makefile.am.
