"""The query side: the read models, the port to their tables, and the queries of the edge."""
