"""Claims: which account has a handle or an e-mail."""
