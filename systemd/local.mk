# The unit file, with the place of the installed daemon in it.
systemdsystemunit_DATA = systemd/ensod.service
EXTRA_DIST += systemd/ensod-cuda.conf systemd/ensod.service.in systemd/README.md
CLEANFILES += systemd/ensod.service

systemd/ensod.service: $(srcdir)/systemd/ensod.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) systemd && \
	  $(SED) -e 's|@bindir[@]|$(bindir)|g' $(srcdir)/systemd/ensod.service.in >$@.tmp && mv $@.tmp $@
