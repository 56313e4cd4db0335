"""Judges with a model of their own, which is named by the user."""
