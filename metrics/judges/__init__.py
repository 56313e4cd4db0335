"""Room metrics.judges."""
