"""Byte streams, from the request to the end."""
