"""Several archives of one stream made one: no message lost that any of them has, with proof (docs/gapless.md)."""
