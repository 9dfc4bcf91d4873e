"""What a whole exchange costs: a day of hundreds of pairs through one engine, made while it is read."""
