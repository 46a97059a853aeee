# Build fragment of cli/: see Makefile.am. The companion program, and what of it has unit tests.
noinst_LIBRARIES += cli/libcli.a
cli_libcli_a_SOURCES = \
	cli/arrivals.c cli/arrivals.h \
	cli/bench.c \
	cli/classify.c \
	cli/cli.c cli/cli.h \
	cli/client.c cli/client.h \
	cli/embed.c \
	cli/inputs.c cli/inputs.h \
	cli/latency.c cli/latency.h \
	cli/load.c cli/load.h \
	cli/models.c \
	cli/options.c cli/options.h \
	cli/report.c cli/report.h \
	cli/server_timing.c cli/server_timing.h
cli_libcli_a_CFLAGS = $(AM_CFLAGS) $(CURL_CFLAGS)

bin_PROGRAMS += enso
enso_SOURCES = cli/enso.c
enso_CFLAGS = $(AM_CFLAGS) $(CURL_CFLAGS)
enso_LDADD = cli/libcli.a $(BASE_LIBS) $(CURL_LIBS)
