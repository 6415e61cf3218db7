"""The settings of a node, and the world that it runs in."""
