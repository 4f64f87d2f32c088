"""Reactions to messages."""
