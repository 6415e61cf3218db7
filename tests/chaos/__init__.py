"""Chaos between real processes: `PYTHONPATH=tests python -m chaos --help`.

A hub and its workers, each an operating-system process with one node, talk through proxies of ours that reset, stall,
half-close, split, swallow and refuse their connections, while the supervisor stops, kills and restarts the processes.
What everybody has sent, been told and received is in journals, and an oracle compares them.

__main__     arguments, and the exit status
campaign     one run from the first process to the verdict; the table
faults       what is done to connections and processes, and when; all of it drawn from the seed
proxy        the stretch of a connection that things are done to
crew         the processes: started, heard, told, signalled
process      the program of such a process
traffic      what a node sends, and where it receives
workers      a program of its own, `python -m chaos.workers`: the processes of `open_workers`, killed under load

The journals and the verdict are those of the demo: `trio_mp.cli.demo.journal` and `trio_mp.cli.demo.oracle`.
"""
