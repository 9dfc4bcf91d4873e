"""Messages to books to verdicts, order events and rows: one port, two engines behind it."""
