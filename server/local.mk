bin_PROGRAMS += ensod
ensod_SOURCES = server/ensod.c

noinst_LIBRARIES += server/libserver.a
server_libserver_a_SOURCES = \
	server/budget.c server/budget.h \
	server/http.c server/http.h server/http_internal.h \
	server/http_answer.c \
	server/http_call.c \
	server/http_stream.c \
	server/http_target.c server/http_target.h \
	server/http_timeouts.c \
	server/listener.c server/listener.h \
	server/loop.c server/loop.h \
	server/socket_progress.c server/socket_progress.h
