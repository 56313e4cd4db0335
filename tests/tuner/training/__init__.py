"""Room tests.tuner.training."""
