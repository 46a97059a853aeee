# Build fragment of batching/: see Makefile.am.
