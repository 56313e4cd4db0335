"""Room tests.metrics.detectors."""
