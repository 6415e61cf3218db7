"""Other nodes at run time: connections, peers, the network that holds them, and the node port."""
