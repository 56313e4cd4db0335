"""Texts that programs wrote into a picture: which of them is the prompt, which are negative."""
