"""A coverage-guided fuzzer of everything that takes bytes from outside; see `__main__.py` for how to run it.

`targets.py` says what must hold, without the fuzzer, so that `tests/test_corpus.py` can try what the fuzzer has found
on every Python. `seeds.py` makes inputs to begin with, `conversation.py` plays the other side of a connection,
`child.py` is the process that fuzzes, `campaign.py` starts it and keeps what it finds.
"""
