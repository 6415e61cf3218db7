"""`trio-mp bench`: every workload, measured in processes of its own.

main         the command: from the options to the exit status
catalogue    the table of all workloads
task         one run of a workload, and its figure; what the processes say to each other
runner       a process that runs one, whatever becomes of it
schedule     the order of all runs: interleaved, and over in time
analysis     medians, intervals, ratios, and what has changed; pure
results      the figures of all runs, kept as JSON
screen       the table
worker       the process that runs one workload
pair         the other processes of a workload, and the functions that run there
local, remote, death, slow, growth, simulated
             the workloads. Each checks that what it measured is true
"""
