"""Faults painted into sound pictures of people."""
