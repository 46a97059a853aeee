# Build fragment of batching/: see Makefile.am.
noinst_LIBRARIES += batching/libbatching.a
batching_libbatching_a_SOURCES = \
	batching/batching_internal.h \
	batching/cost_curve.c batching/cost_curve.h \
	batching/fairness.c batching/fairness.h \
	batching/heap.c batching/heap.h \
	batching/job.c batching/job.h \
	batching/lanes.c batching/lanes.h \
	batching/list.h \
	batching/queue.c batching/queue.h \
	batching/runner.h \
	batching/scheduler.c batching/scheduler.h \
	batching/targets.c batching/targets.h
