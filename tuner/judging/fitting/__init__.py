"""Fitting the judges' logistic regressions to pictures whose faults are known."""
