"""Room tests.tuner.judging."""
