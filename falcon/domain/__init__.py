"""The rules of chat: pure values and functions. No I/O, no clock, no randomness."""
