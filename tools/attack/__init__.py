"""``make attack``: hostile clients beside well-behaved ones, on a Falcon of this machine."""
