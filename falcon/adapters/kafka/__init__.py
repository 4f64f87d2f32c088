"""The log on Kafka: one writer a partition by the epoch fence, snapshots and owners in compacted topics.

aiokafka is imported in this folder only.
"""
