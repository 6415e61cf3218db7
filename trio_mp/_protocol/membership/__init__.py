"""How nodes form a network."""
