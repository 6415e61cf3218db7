"""`trio-mp bench`: every workload, measured in processes of its own.

main         one run of the command, from the options to the exit status
catalogue    the table of all workloads
task         what one run of a workload is told, and the figure that it prints
runner       starts a process for one run, and ends it
schedule     the order of all runs: interleaved, and within the time there is
analysis     medians, intervals, ratios, and what has changed; pure
results      the figures of all runs, kept as JSON
screen       the tables that a run prints
worker       the process that runs one workload
pair         the other processes of a workload, and the functions that run there
local, remote, death, slow, growth, simulated
             the workloads. Each checks that what it measured is true
"""
