"""Services built on the runtime: spawning and calls."""
