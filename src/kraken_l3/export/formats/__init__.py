"""Files for other tools: one module a tool, all fed by `event_stream`."""
