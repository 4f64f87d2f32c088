"""The rooms that there are."""
