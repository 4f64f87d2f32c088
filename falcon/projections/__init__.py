"""Projections turn the log into the read tables: each is one pure function. The runners here apply them."""
