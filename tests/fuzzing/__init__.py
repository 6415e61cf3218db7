"""Fuzzers of all code that takes data from outside; see `__main__.py` for how to run them.

The fuzzers of parsers are guided by coverage. `targets.py` says what must hold. It does not need the fuzzer, so
`test_corpus.py` can try the fuzzer's inputs on every Python. `seeds.py` makes the first inputs, `conversation.py` plays
the other side of a connection, `child.py` is the process that fuzzes, and `campaign.py` starts it and keeps the inputs.

The fuzzer of whole nodes is a set of members that have the secret. `member.py` plays them in the simulated network and
says what must hold, `words.py` makes their messages, and `programs.py` holds the functions that the nodes run for them.
The seed of a round decides all of it.
"""
