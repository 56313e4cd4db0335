"""Picture formats as bytes, where Pillow refuses what can be used."""
