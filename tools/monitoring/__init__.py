"""What ships with Falcon for those who watch it: alerts, their tests, and examples for the tools that carry them."""
