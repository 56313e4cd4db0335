"""Room tuner.mannequin.building."""
