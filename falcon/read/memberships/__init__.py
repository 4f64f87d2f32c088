"""Who is in which room, and what each member finds there."""
