"""The same work, done by others: one module each, run by `python -m benchmarks.peers NAME TASK`.

Each is what somebody who knows the library would write: several messages in one write where it has no queue of its own,
and the same checks as ours. They import nothing of ours: some run under an interpreter of their own.
"""
