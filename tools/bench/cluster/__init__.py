"""The parts of the cluster's benchmark."""
