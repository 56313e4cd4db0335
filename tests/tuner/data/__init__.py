"""Room tests.tuner.data."""
