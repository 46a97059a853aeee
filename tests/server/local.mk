# Build fragment of tests/server/: see tests/local.mk.
TRANSPORT_LIBS = server/libserver.a $(TEST_LIBS) $(BASE_LIBS) $(MICROHTTPD_LIBS) $(UV_LIBS) \
	$(SYSTEMD_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/server/check_http
TESTS += tests/server/check_http
tests_server_check_http_SOURCES = tests/server/check_http.c \
	tests/server/http_harness.c tests/server/http_harness.h
tests_server_check_http_CFLAGS = $(TEST_CFLAGS)
tests_server_check_http_CPPFLAGS = $(TEST_CPPFLAGS)
tests_server_check_http_LDADD = $(TRANSPORT_LIBS)

check_PROGRAMS += tests/server/check_budget
TESTS += tests/server/check_budget
tests_server_check_budget_SOURCES = tests/server/check_budget.c
tests_server_check_budget_CFLAGS = $(TEST_CFLAGS)
tests_server_check_budget_CPPFLAGS = $(TEST_CPPFLAGS)
tests_server_check_budget_LDADD = $(TRANSPORT_LIBS)

check_PROGRAMS += tests/server/check_http_target
TESTS += tests/server/check_http_target
tests_server_check_http_target_SOURCES = tests/server/check_http_target.c
tests_server_check_http_target_CFLAGS = $(TEST_CFLAGS)
tests_server_check_http_target_CPPFLAGS = $(TEST_CPPFLAGS)
tests_server_check_http_target_LDADD = $(TRANSPORT_LIBS)

check_PROGRAMS += tests/server/check_listener
TESTS += tests/server/check_listener
tests_server_check_listener_SOURCES = tests/server/check_listener.c
tests_server_check_listener_CFLAGS = $(TEST_CFLAGS)
tests_server_check_listener_CPPFLAGS = $(TEST_CPPFLAGS)
tests_server_check_listener_LDADD = $(TRANSPORT_LIBS)

check_PROGRAMS += tests/server/check_loop
TESTS += tests/server/check_loop
tests_server_check_loop_SOURCES = tests/server/check_loop.c
tests_server_check_loop_CFLAGS = $(TEST_CFLAGS)
tests_server_check_loop_CPPFLAGS = $(TEST_CPPFLAGS)
tests_server_check_loop_LDADD = $(TRANSPORT_LIBS)

check_PROGRAMS += tests/server/check_http_clients
TESTS += tests/server/check_http_clients
tests_server_check_http_clients_SOURCES = tests/server/check_http_clients.c \
	tests/server/http_harness.c tests/server/http_harness.h
tests_server_check_http_clients_CFLAGS = $(TEST_CFLAGS)
tests_server_check_http_clients_CPPFLAGS = $(TEST_CPPFLAGS)
tests_server_check_http_clients_LDADD = $(TRANSPORT_LIBS)

# The dialects: the real handlers over stand-ins for models, registry and transport.
DIALECT_LIBS = server/libserver.a $(TEST_LIBS) engine/libengine.a $(BASE_LIBS) $(UTF8PROC_LIBS) \
	$(JANSSON_LIBS) -lm $(CHECK_LIBS)
FAKE_SOURCES = tests/server/fake.c tests/server/fake.h

check_PROGRAMS += tests/server/check_native
TESTS += tests/server/check_native
tests_server_check_native_SOURCES = tests/server/check_native.c $(FAKE_SOURCES)
tests_server_check_native_CFLAGS = $(TEST_CFLAGS)
tests_server_check_native_CPPFLAGS = $(TEST_CPPFLAGS)
tests_server_check_native_LDADD = $(DIALECT_LIBS)

check_PROGRAMS += tests/server/check_huggingface
TESTS += tests/server/check_huggingface
tests_server_check_huggingface_SOURCES = tests/server/check_huggingface.c $(FAKE_SOURCES)
tests_server_check_huggingface_CFLAGS = $(TEST_CFLAGS)
tests_server_check_huggingface_CPPFLAGS = $(TEST_CPPFLAGS)
tests_server_check_huggingface_LDADD = $(DIALECT_LIBS)

check_PROGRAMS += tests/server/check_kserve
TESTS += tests/server/check_kserve
tests_server_check_kserve_SOURCES = tests/server/check_kserve.c $(FAKE_SOURCES)
tests_server_check_kserve_CFLAGS = $(TEST_CFLAGS)
tests_server_check_kserve_CPPFLAGS = $(TEST_CPPFLAGS)
tests_server_check_kserve_LDADD = $(DIALECT_LIBS)

check_PROGRAMS += tests/server/check_inputs
TESTS += tests/server/check_inputs
tests_server_check_inputs_SOURCES = tests/server/check_inputs.c $(FAKE_SOURCES)
tests_server_check_inputs_CFLAGS = $(TEST_CFLAGS)
tests_server_check_inputs_CPPFLAGS = $(TEST_CPPFLAGS)
tests_server_check_inputs_LDADD = $(DIALECT_LIBS)

check_PROGRAMS += tests/server/check_multipart
TESTS += tests/server/check_multipart
tests_server_check_multipart_SOURCES = tests/server/check_multipart.c $(FAKE_SOURCES)
tests_server_check_multipart_CFLAGS = $(TEST_CFLAGS)
tests_server_check_multipart_CPPFLAGS = $(TEST_CPPFLAGS)
tests_server_check_multipart_LDADD = $(DIALECT_LIBS)

check_PROGRAMS += tests/server/check_scores
TESTS += tests/server/check_scores
tests_server_check_scores_SOURCES = tests/server/check_scores.c $(FAKE_SOURCES)
tests_server_check_scores_CFLAGS = $(TEST_CFLAGS)
tests_server_check_scores_CPPFLAGS = $(TEST_CPPFLAGS)
tests_server_check_scores_LDADD = $(DIALECT_LIBS)

check_PROGRAMS += tests/server/check_routes
TESTS += tests/server/check_routes
tests_server_check_routes_SOURCES = tests/server/check_routes.c $(FAKE_SOURCES)
tests_server_check_routes_CFLAGS = $(TEST_CFLAGS)
tests_server_check_routes_CPPFLAGS = $(TEST_CPPFLAGS)
tests_server_check_routes_LDADD = $(DIALECT_LIBS)

check_PROGRAMS += tests/server/check_tidy
TESTS += tests/server/check_tidy
tests_server_check_tidy_SOURCES = tests/server/check_tidy.c
tests_server_check_tidy_CFLAGS = $(TEST_CFLAGS)
tests_server_check_tidy_CPPFLAGS = $(TEST_CPPFLAGS)
tests_server_check_tidy_LDADD = $(TRANSPORT_LIBS)

check_PROGRAMS += tests/server/check_device
TESTS += tests/server/check_device
tests_server_check_device_SOURCES = tests/server/check_device.c
tests_server_check_device_CFLAGS = $(TEST_CFLAGS)
tests_server_check_device_CPPFLAGS = $(TEST_CPPFLAGS)
tests_server_check_device_LDADD = $(TEST_LIBS) $(SERVER_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/server/check_registry
TESTS += tests/server/check_registry
tests_server_check_registry_SOURCES = tests/server/check_registry.c
tests_server_check_registry_CFLAGS = $(TEST_CFLAGS)
tests_server_check_registry_CPPFLAGS = $(TEST_CPPFLAGS)
tests_server_check_registry_LDADD = $(TEST_LIBS) $(SERVER_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/server/check_served
TESTS += tests/server/check_served
tests_server_check_served_SOURCES = tests/server/check_served.c
tests_server_check_served_CFLAGS = $(TEST_CFLAGS)
tests_server_check_served_CPPFLAGS = $(TEST_CPPFLAGS)
tests_server_check_served_LDADD = $(TEST_LIBS) $(SERVER_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/server/check_service
TESTS += tests/server/check_service
tests_server_check_service_SOURCES = tests/server/check_service.c
tests_server_check_service_CFLAGS = $(TEST_CFLAGS)
tests_server_check_service_CPPFLAGS = $(TEST_CPPFLAGS)
tests_server_check_service_LDADD = $(TRANSPORT_LIBS)
