"""Messages that an account keeps for itself."""
