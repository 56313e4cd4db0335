"""The judges: each file answers one question about one picture."""
