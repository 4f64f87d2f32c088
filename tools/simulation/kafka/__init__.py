"""A Kafka in memory, deterministic by its seed, for tests of what stands on one.

``Brokers`` is the servers: topics, replicas, groups, and faults that a test or a schedule brings about. It lives on one
event loop, whose time is its time. ``SimulatedCluster`` takes the place of ``KafkaCluster`` and makes clients that have
the methods of aiokafka's which Falcon uses; they speak to the brokers over a ``Network`` that may delay, lose and hold
back what is sent. Nothing here decides differently from a real broker on purpose; ``test_beside_a_real_kafka`` holds
both against each other.
"""
