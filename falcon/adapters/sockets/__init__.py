"""Communication between processes of one machine."""
