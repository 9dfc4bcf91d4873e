"""Archive lines to messages, books, verdicts, events and rows; the only place where archive and book meet."""
