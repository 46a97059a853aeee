# Rules of the house over all its files: see each script's head. Headers: make check-headers.
dist_check_SCRIPTS += tests/house/check_rules.py tests/house/check_quickstart.sh
TESTS += tests/house/check_rules.py tests/house/check_quickstart.sh
