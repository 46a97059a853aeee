# Rules of the house over all its files: see each script's head. Headers: make check-headers.
dist_check_SCRIPTS += tests/house/check_rules.py tests/house/check_quickstart.sh tests/house/check_configure.sh
TESTS += tests/house/check_rules.py tests/house/check_quickstart.sh tests/house/check_configure.sh

# Run by make distcheck too.
EXTRA_DIST += tests/house/installcheck.sh
installcheck-local:
	@test -z '$(DESTDIR)' || { ENSOD_MODEL_DIR='$(DESTDIR)$(pkgdatadir)/models'; export ENSOD_MODEL_DIR; }; \
	  top_srcdir='$(top_srcdir)' $(SHELL) $(srcdir)/tests/house/installcheck.sh '$(DESTDIR)$(bindir)'
