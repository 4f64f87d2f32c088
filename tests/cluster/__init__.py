"""Real processes on a real Kafka and a real HBase."""
