"""How two nodes prove who they are to each other before the first frame."""
