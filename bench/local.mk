# Build fragment of bench/: see Makefile.am.
