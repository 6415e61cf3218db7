"""Message passing for Trio programs."""
