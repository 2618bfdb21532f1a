"""What all stands on: settings, errors, files, the console, the workspace, run folders."""
