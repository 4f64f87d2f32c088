"""What Falcon is measured beside: a bare route (the ceiling) and a hand-written chat on PostgreSQL (the neighbour)."""
