"""The on-disk log: layout, writer, reader, receipts, journal, recovery."""
