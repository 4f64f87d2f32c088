"""The shapes in which events, answers and refusals stand in the log, each with its version.

A shape that is here never changes, and neither does its name: logs have both for ever. To change a shape, even by one
field, add the next version beside it and a sample of it in ``tests/history``. Times are milliseconds since 1970.
The shape of an answer or refusal names itself and its version in its tag: it stands in the record of an event.
"""
