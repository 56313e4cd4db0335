"""Labels by hand: the table, the page, and the server of `tuner label`."""
