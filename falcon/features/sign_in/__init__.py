"""Signing in: passwords, sessions, and the links that an administrator gives to who forgot a password."""
