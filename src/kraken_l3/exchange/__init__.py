"""The embedded exchange: a server that speaks Kraken's protocol, fed by synthetic order flow or a recorded archive."""
