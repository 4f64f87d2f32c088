"""The command side: aggregates in memory, one writer a partition, batches all the way."""
