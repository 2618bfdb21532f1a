"""What the commands do: one file a command, one function that reads files and writes files."""
