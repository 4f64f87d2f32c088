"""The public API: a table of operations, and a handler for each."""
