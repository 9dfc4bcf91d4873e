"""The embedded exchange's other feed: a recorded archive instead of synthetic trading."""
