"""Speed of rebuilding and verifying: `python -m bench.rebuild` prints the table."""
