"""A log, its journal and read models in memory: what contracts, simulations and histories are compared with.

They keep the promises of their ports, and on demand break what the ports allow to break.
"""
