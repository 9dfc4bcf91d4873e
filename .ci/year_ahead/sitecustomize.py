"""With this directory on PYTHONPATH a Python and its children live a year ahead: wall clock only, and it ticks.

libfaketime was tried and is no way: it fakes every stat and every wait with a time-out too, ten times slower.
"""

import datetime

import time_machine

time_machine.travel(datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=365)).start()
