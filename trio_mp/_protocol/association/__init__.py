"""No holes: which connection is in use, what is queued, and when monitors fire."""
