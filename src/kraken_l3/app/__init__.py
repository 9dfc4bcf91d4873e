"""The composition root: builds the concrete objects and wires them; nothing else does."""
