"""Replay: how fast, and how true to the recorded spacing."""
