"""What each command prints of its result."""
