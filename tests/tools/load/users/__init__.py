"""What the load test holds Falcon to, and how it counts; nothing here loads anything."""
