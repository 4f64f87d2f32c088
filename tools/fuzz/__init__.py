"""Inputs that are nearly good, for every parser of what a client may send."""
