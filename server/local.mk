bin_PROGRAMS += ensod
ensod_SOURCES = server/ensod.c
ensod_LDADD = $(SERVER_LIBS)

noinst_LIBRARIES += server/libserver.a
server_libserver_a_SOURCES = \
	server/access_log.c server/access_log.h \
	server/app.h \
	server/budget.c server/budget.h \
	server/check_model.c \
	server/classify.c \
	server/daemon.c server/daemon.h \
	server/device.c server/device.h \
	server/device_meters.c server/device_meters.h \
	server/dialect.c server/dialect.h \
	server/embeddings.c \
	server/entries.c server/entries.h \
	server/flow.c server/flow.h \
	server/handlers.h \
	server/http.c server/http.h server/http_internal.h \
	server/http_answer.c \
	server/http_call.c \
	server/http_stream.c \
	server/http_target.c server/http_target.h \
	server/http_timeouts.c \
	server/huggingface.c \
	server/inputs.c server/inputs.h \
	server/kserve.c server/kserve.h \
	server/kserve_answer.c \
	server/kserve_infer.c \
	server/kserve_tensor.c \
	server/listener.c server/listener.h \
	server/loop.c server/loop.h \
	server/lost.c server/lost.h \
	server/meters.c server/meters.h \
	server/models.c \
	server/multipart.c server/multipart.h \
	server/openapi.c server/openapi.h \
	server/pages.c \
	server/prepare.c server/prepare.h \
	server/registry.c server/registry.h \
	server/reload.c server/reload.h \
	server/reply.c server/reply.h \
	server/request.c server/request.h \
	server/routes.c server/routes.h \
	server/scores.c server/scores.h \
	server/served.c server/served.h \
	server/served_load.c \
	server/service.c server/service.h \
	server/socket_progress.c server/socket_progress.h \
	server/tidy.c server/tidy.h \
	server/tune.c \
	server/tokenize.c

# What /openapi.json takes over as it is, as a C string.
nodist_server_libserver_a_SOURCES = server/openapi_json.c
EXTRA_DIST += server/openapi.json
CLEANFILES += server/openapi_json.c

server/openapi_json.c: $(srcdir)/server/openapi.json
	$(AM_V_GEN)$(MKDIR_P) server && { \
	  echo '#include "server/openapi.h"'; echo 'const char enso_openapi_json[] ='; \
	  $(SED) -e 's/[\\"]/\\&/g' -e 's/^ */"/' -e 's/$$/\\n"/' $(srcdir)/server/openapi.json; \
	  echo ';'; echo 'const size_t enso_openapi_json_size = sizeof enso_openapi_json - 1;'; \
	} >$@-t && mv $@-t $@
