"""What happens to sealed days: they are copied to a store elsewhere, proved there, and then removed here when old.

`rules` decides without I/O which days may go, `upload` copies and proves one day, `record` keeps what was done, and
`job` is one run of all of it.
"""
