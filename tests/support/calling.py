"""Commands in this process."""

import typer
from typer.testing import CliRunner

from cxrtool.cli.app import app

COMMANDS = typer.main.get_command(app).commands


def call(*arguments, **environment):
    return CliRunner(env=environment).invoke(app, [str(argument) for argument in arguments])
