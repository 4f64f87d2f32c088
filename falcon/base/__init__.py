"""Parts that know nothing of chat, and that all others may use."""
