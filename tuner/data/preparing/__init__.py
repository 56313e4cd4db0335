"""Preparation of raw photographs: crops, matting, captions by models, and the record of it."""
