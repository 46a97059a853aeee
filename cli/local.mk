# Build fragment of cli/: see Makefile.am. The companion program, and what of it has unit tests.
noinst_LIBRARIES += cli/libcli.a
cli_libcli_a_SOURCES = \
	cli/arrivals.c cli/arrivals.h \
	cli/ask_many.c cli/ask_many.h \
	cli/bench.c \
	cli/classify.c \
	cli/cli.c cli/cli.h \
	cli/client.c cli/client.h \
	cli/confusion.c cli/confusion.h \
	cli/dataset.c cli/dataset.h \
	cli/dataset_archive.c \
	cli/dataset_csv.c \
	cli/dataset_folder.c \
	cli/dataset_idx.c \
	cli/embed.c \
	cli/eval.c \
	cli/eval_report.c cli/eval_report.h \
	cli/eval_run.c cli/eval_run.h \
	cli/idx.c cli/idx.h \
	cli/inputs.c cli/inputs.h \
	cli/labels.c cli/labels.h \
	cli/latency.c cli/latency.h \
	cli/load.c cli/load.h \
	cli/models.c \
	cli/options.c cli/options.h \
	cli/progress.c cli/progress.h \
	cli/report.c cli/report.h \
	cli/server_timing.c cli/server_timing.h \
	cli/stream.c cli/stream.h \
	cli/table.c cli/table.h
cli_libcli_a_CFLAGS = $(AM_CFLAGS) $(CURL_CFLAGS) $(ARCHIVE_CFLAGS)

bin_PROGRAMS += enso
enso_SOURCES = cli/enso.c
enso_CFLAGS = $(AM_CFLAGS) $(CURL_CFLAGS)
enso_LDADD = $(CLI_LIBS)
