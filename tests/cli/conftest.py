"""A shell."""

import subprocess

import pytest


@pytest.fixture
def shell(warm, tmp_path):
    """A command as a user calls it in a folder: its own process, with pipes for both streams."""

    def run(*arguments):
        command = [warm, *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return run
