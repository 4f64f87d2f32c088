"""The accounts that there are, and their tokens."""
