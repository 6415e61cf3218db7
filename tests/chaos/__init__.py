"""Chaos between real processes: `PYTHONPATH=tests python -m chaos --help`.

A hub and its workers, each an operating-system process with one node, talk through proxies that reset, stall,
half-close, split, swallow and refuse their connections. Meanwhile the campaign stops, kills and restarts the processes.
Each process keeps a journal of the messages that it has sent and received, and of the monitors that have fired. An
oracle compares the journals.

__main__     arguments, and the exit status
campaign     one run from the first process to the verdict; the table
faults       the faults of connections and processes, and when they happen, all drawn from the seed
proxy        a relay for one connection, which makes the connection's faults
crew         starts, tells, signals and restarts the processes, and reads what they say
process      the program of such a process
traffic      the messages that a node sends, and the ports that receive them
workers      a program of its own, `python -m chaos.workers`: kills the processes of `open_workers` under load
orphans      a program of its own, `python -m chaos.orphans`: kills a parent, and looks for its processes

The journals and the verdict are those of the demo: `trio_mp.cli.demo.journal` and `trio_mp.cli.demo.oracle`.
"""
