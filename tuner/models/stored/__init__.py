"""Files of bases, on this machine or a hub, read without torch before any network is built."""
