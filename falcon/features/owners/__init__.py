"""Owners of the organization: one remains."""
