"""Byte pipes and addresses: how two nodes reach each other. Knows nothing of messages."""
