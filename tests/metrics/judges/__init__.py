"""Room tests.metrics.judges."""
