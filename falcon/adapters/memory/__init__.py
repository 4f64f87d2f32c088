"""Stores in memory, for tests: they keep the ports' promises, and break what the ports allow to break on demand."""
