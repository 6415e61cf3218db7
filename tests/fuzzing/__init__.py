"""Fuzzers of everything that takes something from outside; see `__main__.py` for how to run them.

Two kinds. Of parsers, guided by coverage:

`targets.py` says what must hold, without the fuzzer, so that `test_corpus.py` can try what the fuzzer has found
on every Python. `seeds.py` makes inputs to begin with, `conversation.py` plays the other side of a connection,
`child.py` is the process that fuzzes, `campaign.py` starts it and keeps what it finds.

And of whole nodes, by members that have the secret: `member.py` plays them in the simulated network and says what must
hold, `words.py` makes what they say, `programs.py` is what the nodes do for them. A seed is all there is to a round.
"""
