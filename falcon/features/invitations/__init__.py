"""Invitations: links by which people make accounts of their own."""
