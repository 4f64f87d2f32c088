"""The operations port: probes, metrics, and pages for operators."""
