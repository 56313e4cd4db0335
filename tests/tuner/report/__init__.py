"""Room tests.tuner.report."""
