"""The files of a data folder: pictures, captions, and the files that are not used, with reasons."""
