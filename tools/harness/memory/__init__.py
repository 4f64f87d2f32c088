"""Read models in memory: what contracts, simulations and histories are compared with."""
