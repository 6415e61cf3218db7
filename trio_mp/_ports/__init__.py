"""The local actors: ports, their handlers and mailboxes, monitors, and the dispatcher that runs them."""
