"""Between processes of one machine."""
