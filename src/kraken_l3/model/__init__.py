"""The immutable words of the domain, shared by all layers."""
