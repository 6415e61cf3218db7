"""Supervisors: children that are started again when they die, references to them, and how they are stopped."""
