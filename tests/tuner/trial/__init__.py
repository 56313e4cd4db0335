"""Room tests.tuner.trial."""
