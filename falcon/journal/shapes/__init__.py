"""The shapes in which events, answers and refusals stand in the log, each with its version.

A shape that is here never changes, nor does its name: the log has it for ever. A new one, be it by a single field, is
the next version beside it, with a sample in ``tests/history``. Times are milliseconds since 1970.
"""
