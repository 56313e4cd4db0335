"""What the process that runs a study keeps in memory: Optuna's trials, what the workers do."""
