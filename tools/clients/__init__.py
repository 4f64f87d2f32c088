"""Generates the parts of the client packages that follow from the documents of the API."""
