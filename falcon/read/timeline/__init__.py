"""Messages of rooms."""
