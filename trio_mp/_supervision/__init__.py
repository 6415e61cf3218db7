"""Supervisors: children that are started again when they die, references to them, how they are stopped; processes."""
