"""Live: what happens, to whoever may see it, as soon as it is durable; and, to whoever was away, what he has missed."""
