"""Messages that are pinned to their room."""
