"""Threads: rooms that belong to a message of another room."""
