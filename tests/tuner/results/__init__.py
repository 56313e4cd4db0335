"""Room tests.tuner.results."""
