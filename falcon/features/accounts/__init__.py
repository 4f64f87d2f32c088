"""Accounts, their tokens, and signing in with them."""
