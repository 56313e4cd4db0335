"""Measures of sets: questions about many pictures together."""
