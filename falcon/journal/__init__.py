"""The language that both sides share: events in envelopes, their bytes, and the ports of the log."""
