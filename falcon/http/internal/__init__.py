"""The port on which the processes of a cluster serve one another."""
