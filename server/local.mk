bin_PROGRAMS += ensod
ensod_SOURCES = server/ensod.c
