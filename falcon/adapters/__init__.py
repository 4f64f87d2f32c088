"""Adapters implement the ports. Each folder knows its own library and no other adapter."""
