"""Live delivery: streams get each event as soon as it is durable, and what they missed while they were away."""
