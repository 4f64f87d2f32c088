"""Limits for an account, a room and an address: the numbers, the counting, and the refusals."""
