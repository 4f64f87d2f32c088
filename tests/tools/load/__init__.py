"""What the benchmarks make of figures."""
