"""Shared by the other tools: processes, cores, servers that run for a block of code, progress and plots."""
