"""A real Kafka, HBase and OpenSearch on this machine, without Docker: plain jars, loopback addresses, one folder each.

Needs Linux, Python 3.11 with nothing installed, a JDK of 17 or newer, and Maven the first time.
"""
