"""`trio-mp demo`: real processes, real losses, and a verdict.

main         one run of the command, from the first process to the exit status
scenario     what the command does to the nodes, and what must follow
crew         starts the processes, takes their reports, stops and kills them
relay        carries the connection that the command cuts
worker       the process of one node
traffic      what a node sends, and where it receives
talk         what the processes and the command say to each other
journal      what each process records, for the verdict; pure but for the file
oracle       compares the journals, and names every violation; pure
checker      the oracle's findings in the numbers that the demo shows; pure
board        what the command knows of every node at this moment
live         the board as a live picture, drawn by Rich
summary      the lines of text: how things stand, and the summary at the end
"""
