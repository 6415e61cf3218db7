"""The rows of the commands, a module for each group; see `Command`."""
