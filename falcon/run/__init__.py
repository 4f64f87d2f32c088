"""Starts and composes processes: the launcher, the roles below it, their settings, and what they are made of."""
