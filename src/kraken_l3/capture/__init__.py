"""The only code that talks to Kraken: transport, REST, connections, supervisor, sink."""
