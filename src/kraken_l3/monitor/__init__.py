"""What a running recorder shows of itself: the terminal view, logs, health."""
