# Rules of the house over all its files: see the script's head. Headers: make check-headers.
dist_check_SCRIPTS += tests/house/check_rules.py
TESTS += tests/house/check_rules.py
