"""Feeds nearly valid input to each parser of what clients send."""
