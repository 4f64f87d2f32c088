"""What a request or a stream costs must not grow with the site."""
