"""The messages of rooms."""
