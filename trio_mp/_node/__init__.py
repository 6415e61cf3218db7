"""The node that users see, and how it is put together."""
