"""Room tests.tuner.cli."""
