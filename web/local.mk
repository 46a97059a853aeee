# What browsers get: pages as C strings, taken in by server/pages.c.
EXTRA_DIST += web/index.html web/README.md
nodist_server_libserver_a_SOURCES += web/index_html.c
CLEANFILES += web/index_html.c

web/index_html.c: $(srcdir)/web/index.html
	$(AM_V_GEN)$(MKDIR_P) web && { \
	  echo '#include "server/handlers.h"'; echo 'const char enso_index_html[] ='; \
	  $(SED) -e 's/[\\"]/\\&/g' -e 's/^ */"/' -e 's/$$/\\n"/' $(srcdir)/web/index.html; echo ';'; \
	} >$@-t && mv $@-t $@
