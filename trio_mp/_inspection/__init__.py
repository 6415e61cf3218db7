"""Looking into a node, and acting on it from outside: what the node answers, and what the operator's side asks."""
