"""The embedded world: a small base, a data set and small judges, without GPU or model hub."""
