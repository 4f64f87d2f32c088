"""What the other tools share: processes, cores, servers that run for a block of code, progress and plots."""
