"""Room tests.tuner.export."""
