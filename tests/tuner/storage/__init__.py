"""Room tests.tuner.storage."""
