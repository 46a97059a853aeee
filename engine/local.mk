# Build fragment of engine/: see Makefile.am.
