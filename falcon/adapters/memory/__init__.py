"""Stores in memory, for tests. They keep the ports' promises, and on demand break what the ports allow to break."""
