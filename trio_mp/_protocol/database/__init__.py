"""The database that all nodes share."""
