"""Room metrics.sets."""
