"""Which systems lose messages, and who tells: `python -m benchmarks.losses`.

A sender sends the numbers 1 to N at a fixed pace, each of them once. The receiver writes down each
number when it handles it. At the middle one the receiver is busy for a moment, so that others wait
behind it. Meanwhile its process is killed, or its connection is reset. `judge.py` compares what was
written down: which numbers were lost, and when, if ever, the sender was told.
"""
