"""Shared by the other tools and the tests: waiting, processes, cores, servers that run for a block of code, reports,
plots, and read models in memory."""
