"""The stream: who may listen, from where on, and how frames reach a connection."""
