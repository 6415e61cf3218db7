"""Channels across nodes: Trio's send and receive channels, with credit in items and bytes."""
