"""The way from the edge to the owners of partitions in other processes: batches of commands, in frames."""
