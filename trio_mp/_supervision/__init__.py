"""Supervisors, and what they supervise: children here, on other nodes, and in processes of their own."""
