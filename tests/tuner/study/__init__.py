"""Room tests.tuner.study."""
