# Build fragment of config/: see Makefile.am.
