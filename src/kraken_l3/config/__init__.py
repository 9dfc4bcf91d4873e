"""What the user configured: YAML file, then environment, then flags."""
