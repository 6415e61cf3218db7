"""`trio-mp demo`: real processes, real losses, and a verdict.

main         the command: one run from the first process to the exit status
scenario     what is done to the nodes, and what must come of it
crew         the processes: how they are started, heard, stopped, killed
relay        the connection that is cut
worker       the process of one node
traffic      what a node sends, and where it receives
talk         what the processes and the command say to each other
journal      the entries that the verdict comes from; pure, but for the file
oracle       the verdict; pure
checker      the verdict, as the demo shows it; pure
board        what is known of everybody at this moment
screen       the board, drawn; and the summary
"""
