"""The runtime: ports, monitors and connections in one Trio nursery per node."""
