"""Functions as commands: an option for each field of a config, and one boundary for errors."""

import errno
import functools
import inspect
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from cxrtool.cli.config_files import CONFIG, in_home, read_config, read_recipe
from cxrtool.cli.options import parameter
from cxrtool.cli.suggestions import SuggestingCommand
from cxrtool.core.config import CommonConfig, options_of
from cxrtool.core.config.option import Option
from cxrtool.core.errors import CxrToolError
from cxrtool.core.terminal import repeating

if TYPE_CHECKING:  # rich takes as long to import as all else that `--help` needs
    from cxrtool.core.console import Reporter
    from cxrtool.core.workspace import Workspace

TYPED = ("COMMANDLINE", "PROMPT")
GIVEN = (*TYPED, "ENVIRONMENT", "DEFAULT_MAP")
NO_RESULT, INTERRUPTED = "no result", "stopped"
"""The `status` of a command that failed, and of one that was asked to end and may be resumed."""
READERS: dict[str, Callable[..., Any]] = {"config": read_config, "recipe": read_recipe}
"""The options that name files of defaults."""
Body = TypeVar("Body", bound=Callable[..., None])


@dataclass(frozen=True)
class Call:
    """What a command is called with besides its own options."""

    common: CommonConfig
    workspace: "Workspace"
    reporter: "Reporter"
    typed: frozenset[str]
    """The names of the options that were typed."""
    given: frozenset[str]
    """Those that a variable or a file set too."""

    @property
    def seed(self) -> int:
        """Of every random choice."""
        return self.common.seed


def command(
    app: typer.Typer,
    config_class: type,
    panel: str,
    without: Collection[str] = (),
    arguments: Collection[Option] = (),
) -> Callable[[Body], Body]:
    """Make a function of (config, call, ...) a command with the options of a config.

    Args:
        app: where the command is added.
        config_class: the dataclass whose fields are the options.
        panel: the group of the program's help that the command is in.
        without: fields that the command has no option for.
        arguments: those that are no field; the function is given them by their names.
    """

    def decorate(body: Body) -> Body:
        own = options_of(config_class)
        fields = {name: option for name, option in own.items() if name not in without}
        common = {name: one for name, one in options_of(CommonConfig).items() if name not in own}

        @functools.wraps(body)
        def run(**values: Any) -> None:
            from cxrtool.core.console import Reporter
            from cxrtool.core.workspace import Workspace, workspace_option

            values.pop("config")
            context = values.pop("context")
            values = {name: in_home(value) for name, value in values.items()}
            others = {one.name: values.pop(one.name) for one in arguments}
            shared = CommonConfig(**{name: values.pop(name) for name in common})
            place = values.get("workspace", shared.workspace)  # the demo has one of its own
            with repeating(workspace_option(place)), boundary(shared):
                _recover(shared)
                call = Call(
                    common=shared,
                    workspace=Workspace(shared.workspace),
                    reporter=Reporter(
                        quiet=shared.quiet, verbose=shared.verbose, progress=shared.progress
                    ),
                    typed=_set_by(TYPED, context),
                    given=_set_by(GIVEN, context),
                )
                body(config_class(**values), call, **others)

        kind = inspect.Parameter.KEYWORD_ONLY
        parameters = [inspect.Parameter("context", kind, annotation=typer.Context)]
        for option in (*arguments, *fields.values(), CONFIG, *common.values()):
            parameters.append(parameter(option, READERS.get(option.name)))
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        app.command(cls=SuggestingCommand, rich_help_panel=panel)(run)
        return body

    return decorate


def _set_by(sources: Collection[str], context: typer.Context) -> frozenset[str]:
    """The options whose values come from one of these sources."""
    names = [str(parameter.name) for parameter in context.command.params]
    found = {name: context.get_parameter_source(name) for name in names}
    return frozenset(name for name, source in found.items() if source and source.name in sources)


def _recover(common: CommonConfig) -> None:
    """Put back the runs that `train --force` was replacing when it was killed."""
    runs = common.workspace / "runs"
    if os.environ.get("RANK", "0") != "0" or not any(runs.glob(".*-replaced-*")):
        return
    from cxrtool.core.console import Reporter
    from cxrtool.core.new_runs import put_back

    found, reporter = put_back(runs), Reporter(quiet=common.quiet)
    for name in found.back:
        reporter.note(f"run {name} is restored: its replacement was killed as it began")
    for name, place in found.aside:
        reporter.warn(
            f"the run that {name} replaces is still in {place}: training was killed before a step "
            f"of the new {name} was saved. `cxrtool train --resume {name}` resumes the new one and "
            f"removes the older; if you delete {runs / name}, the older is restored"
        )


@contextmanager
def boundary(common: CommonConfig) -> Iterator[None]:
    """The one place where errors become a message and an exit code; bugs keep their traceback."""
    try:
        yield
    except (CxrToolError, OSError, KeyboardInterrupt) as error:
        code, text = _describe(error)
        if common.debug or code is None:
            raise
        if text:
            from cxrtool.core.console import STOPPED, print_error, print_json

            rank = os.environ.get("RANK", "0") if os.environ.get("WORLD_SIZE", "1") != "1" else "0"
            print_error(text if rank == "0" else f"process {rank}: {text}", code)
            if common.json and rank == "0":  # a script tells this from a result with failures
                status = INTERRUPTED if code == STOPPED else NO_RESULT
                print_json({"status": status, "error": text, "exit_code": code})
        raise typer.Exit(code) from None


def _describe(error: BaseException) -> tuple[int | None, str]:
    """The exit code and the message for an error that a user can fix; no code for a bug."""
    if isinstance(error, CxrToolError):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return 130, "interrupted"
    if isinstance(error, BrokenPipeError):  # `cxrtool ... | head` is not worth a message
        return 1, ""
    if isinstance(error, FileNotFoundError) and "temporary directory" in (error.strerror or ""):
        return 1, f"{error.strerror}: make room in one of them, or name another with TMPDIR"
    if isinstance(error, OSError) and error.strerror:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = ": make room, and give the same command again" if full else ""
        return 1, f"{error.filename or 'the system'}: {error.strerror}{hint}"
    return None, ""
