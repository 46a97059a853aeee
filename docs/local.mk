# Build fragment of docs/: see Makefile.am.
