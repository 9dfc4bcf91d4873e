"""With this directory on PYTHONPATH a Python and its children live a year ahead: wall clock only, and it ticks.

libfaketime was tried: a file of tests that takes 14 s was not through after 100 s with it.
"""

import datetime

import time_machine

time_machine.travel(datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=365)).start()
