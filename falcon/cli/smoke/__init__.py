"""Trying out a Falcon that was just deployed, as a client would."""
