"""Room tests.tuner.mannequin.building."""
