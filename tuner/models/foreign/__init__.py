"""LoRA files of every trainer: their names, methods and base, read and put on a base."""
