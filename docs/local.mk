# Build fragment of docs/: see Makefile.am.
dist_man_MANS += docs/enso.1 docs/ensod.8 docs/ensod.conf.5
