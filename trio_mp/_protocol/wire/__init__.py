"""Bytes: which values travel, how messages are framed, and what they may hold."""
