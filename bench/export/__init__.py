"""How fast archives become tables, against the usual ways."""
