"""`arm_peer.py RUNTIME MODEL`: runs a model under qemu, a mark before and after every run (see count.c).

The first pair of marks surrounds an empty function: what Python and the marks themselves cost.
"""
import ctypes
import sys

import peer

WARM_UP, RUNS = 3, 5
BEFORE, AFTER = 1, 2

mark = ctypes.CDLL(None).syscall
run = peer.RUNTIMES[sys.argv[1]](sys.argv[2], 1)
for _ in range(WARM_UP):
    run()
for measured in [lambda: None] + [run] * RUNS:
    mark(5000, BEFORE)
    measured()
    mark(5000, AFTER)
