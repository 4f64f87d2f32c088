"""Peers to compare Falcon with: a bare route (the ceiling) and a hand-written chat on PostgreSQL (the neighbour)."""
