"""Room tests.tuner.space."""
