# Build fragment of config/: see Makefile.am.
noinst_LIBRARIES += config/libconfig.a
config_libconfig_a_SOURCES = \
	config/address.c \
	config/command_line.c \
	config/compare.c \
	config/config.c config/config.h \
	config/config_internal.h \
	config/consistency.c \
	config/device.c \
	config/documents.c \
	config/dump.c \
	config/environment.c \
	config/file.c \
	config/ini.c \
	config/loader.h \
	config/models.c \
	config/nearest.c \
	config/option_values.c \
	config/options.c config/options.h

# The documents that are made from the table of options; committed, and checked by
# tests/config/check_options.c.
noinst_PROGRAMS += config/write_docs
config_write_docs_SOURCES = config/write_docs.c
config_write_docs_LDADD = $(CONFIG_LIBS)
EXTRA_DIST += docs/configuration.md docs/ensod.conf.example

.PHONY: configuration-docs
configuration-docs: config/write_docs
	config/write_docs markdown > $(top_srcdir)/docs/configuration.md
	config/write_docs example > $(top_srcdir)/docs/ensod.conf.example
	config/write_docs man > $(top_srcdir)/docs/ensod.conf.5
