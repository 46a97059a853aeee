# Unit tests: one Check program per module, tests/<folder>/check_<module>.c, listed in
# tests/<folder>/local.mk, which link from that floor's library downwards.
TEST_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
TEST_CPPFLAGS = $(AM_CPPFLAGS) -DENSO_ALLOW_BANNED -DENSO_TOP_SRCDIR='"$(abs_top_srcdir)"'
# Instrumented builds tell the scripts, which then say nothing of time and memory.
if ENABLE_ASAN
# LeakSanitizer takes a module's thread-local variables for what they are not (glibc 2.36) and faults.
TESTS_SANITIZED = ENSOD_TEST_SANITIZED=address; export ENSOD_TEST_SANITIZED; \
	ASAN_OPTIONS=intercept_tls_get_addr=0:$$ASAN_OPTIONS; export ASAN_OPTIONS;
endif
if ENABLE_TSAN
TESTS_SANITIZED = ENSOD_TEST_SANITIZED=thread; export ENSOD_TEST_SANITIZED;
endif
AM_TESTS_ENVIRONMENT = top_srcdir='$(top_srcdir)'; export top_srcdir; \
	top_builddir='$(top_builddir)'; export top_builddir; \
	CK_TIMEOUT_MULTIPLIER=$${CK_TIMEOUT_MULTIPLIER:-5}; export CK_TIMEOUT_MULTIPLIER; \
	ENSOD_TEST_PATIENCE=$${ENSOD_TEST_PATIENCE:-180}; export ENSOD_TEST_PATIENCE; $(TESTS_SANITIZED)

if HAVE_CHECK
# Shared helpers: link $(TEST_LIBS) before the floor's own libraries.
TEST_LIBS = tests/support/libsupport.a
check_LIBRARIES += tests/support/libsupport.a
tests_support_libsupport_a_SOURCES = tests/support/support.c tests/support/support.h
tests_support_libsupport_a_CFLAGS = $(TEST_CFLAGS)
tests_support_libsupport_a_CPPFLAGS = $(TEST_CPPFLAGS)

include tests/base/local.mk
include tests/config/local.mk
include tests/kernels/local.mk
include tests/cuda_emulation/local.mk
include tests/twins/local.mk
include tests/engine/local.mk
include tests/batching/local.mk
include tests/server/local.mk
endif
include tests/house/local.mk
include tests/cli/local.mk
include tests/end_to_end/local.mk
include tests/parity/local.mk
include tests/gpu/local.mk
include tests/fuzz/local.mk
