"""Benchmarks of Falcon, alone, beside its peers and on a cluster."""
