"""Room tests.metrics.figure."""
