"""Falcon's benchmark: `python -m load_tests.bench`, or `make bench`."""
