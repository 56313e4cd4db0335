"""A search space goes in, a study of LoRAs comes out."""

__version__ = "0.1.0"
