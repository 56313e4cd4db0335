"""Room tests.tuner.worker."""
