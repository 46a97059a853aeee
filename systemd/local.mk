# The unit file, with the place of the installed daemon in it.
systemdsystemunit_DATA = systemd/ensod.service
EXTRA_DIST += systemd/ensod-cuda.conf systemd/ensod.service.in systemd/README.md
CLEANFILES += systemd/ensod.service
# Where the module is, its drop-in stands beside the unit: systemd reads both.
if HAVE_CUDA
cudadropindir = $(systemdsystemunitdir)/ensod.service.d
cudadropin_DATA = systemd/ensod-cuda.conf
endif

systemd/ensod.service: $(srcdir)/systemd/ensod.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) systemd && \
	  $(SED) -e 's|@bindir[@]|$(bindir)|g' $(srcdir)/systemd/ensod.service.in >$@.tmp && mv $@.tmp $@
