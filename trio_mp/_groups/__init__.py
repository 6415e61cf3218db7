"""Groups: the members of a family, monitored, chosen and called; and the one place that only one member has."""
