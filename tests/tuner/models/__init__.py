"""Room tests.tuner.models."""
