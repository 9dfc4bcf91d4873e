"""The live page of a recorder or of any archive, served over HTTP by a process of its own."""
