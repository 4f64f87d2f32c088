"""How many processes and servers a site needs, computed from measured figures."""
