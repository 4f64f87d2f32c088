"""Memberships: roles, read marks, mentions, and the room lists of members."""
