# Build fragment of models/: see Makefile.am.
