"""What processes of a cluster ask one another."""
