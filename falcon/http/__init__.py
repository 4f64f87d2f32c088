"""The edge: HTTP requests in, commands and queries out, JSON back."""
