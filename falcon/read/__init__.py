"""The query side: what read tables hold, the port to them, and the queries that the edge asks."""
