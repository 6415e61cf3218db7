"""One module for each system: its sender and its receiver, as its documentation recommends to write them.

Run by `python -m benchmarks.losses.programs NAME ROLE PLAN`. Only `ours` imports trio_mp: others run under interpreters
of their own.
"""
