"""What `kraken-l3 doctor` looks at before a recorder is left alone: the machine, the way to Kraken, and the key."""
