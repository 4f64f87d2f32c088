"""Inputs that are nearly good, for every parser of clients' input."""
