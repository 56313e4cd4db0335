"""Room tests.metrics.sets."""
