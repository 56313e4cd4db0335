"""Checks of a study: its settings against its base and the memory of this machine."""
