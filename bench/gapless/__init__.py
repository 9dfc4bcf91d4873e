"""What commands cost before, or instead of, reading the data."""
