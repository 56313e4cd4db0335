"""Room metrics.figure."""
