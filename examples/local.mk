# Not built: what a reader runs. Folders whole; what Python leaves in them stays behind.
EXTRA_DIST += examples
dist-hook:
	rm -rf $(distdir)/examples/__pycache__
