"""The pure core: bytes and events in, effects out. No Trio, no socket, no clock, no randomness, no logging."""
