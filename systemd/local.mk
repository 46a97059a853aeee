# Build fragment of systemd/: see Makefile.am.
