"""The command line: Typer, one declaration an option, config files, the boundary of errors."""
