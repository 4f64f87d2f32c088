"""An HBase in memory behind a gateway's calls, with the faults that a real one has, by a seed.

``Servers`` is what lies behind the gateways: tables, rows, cells with timestamps. ``SimulatedLine`` takes the place of
a connection to a gateway, and ``SimulatedGateways`` are ``Gateways`` with such. Threads may be real or simulated.
"""
