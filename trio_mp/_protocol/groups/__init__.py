"""Who is in a group, which member gets a call, and which candidate for one place has it."""
