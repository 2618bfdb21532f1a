"""What a person sees: results on stdout, progress and warnings on stderr; tables and JSON."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeft
from rich.table import Table
from rich.text import Text

from cxrtool.core.config import CommonConfig
from cxrtool.core.numbers import number
from cxrtool.core.terminal import as_called, json_escaped, program, visible
from cxrtool.core.workspace import workspace_option

SHOWN_SECONDS = 1.0
"""A step that took longer than this leaves a line where bars cannot be shown."""
PLAIN_WIDTH = 80
STOPPED = 130
"""The exit code of what was stopped by Ctrl-C or SIGTERM."""
Advance = Callable[[int], None]
"""Tells the display that so many units more are done."""


class TrainingDisplay:
    """What is seen of a training while it runs: nothing here, where there is no terminal."""

    live = False
    loss: float | None = None
    """The last batch's."""

    def begin(self, title: str, total: int) -> None:
        """A pass over `total` images begins."""

    def advance(self, images: int) -> None:
        """So many images more are done."""

    def scores(self, auroc: float, best: float | None) -> None:
        """A validation came to an end."""


class SearchDisplay:
    """A table of trials at the foot of a terminal; where there is none, `live` is False."""

    def __init__(self, *, live: bool) -> None:
        self.live = live
        self._content: Group | Text = Text("")

    def show(self, columns: dict[str, str], rows: list[list[str]], status: str) -> None:
        """Its trials so far, and a line about the current ones."""
        self._content = Group(table("", columns, rows), Text(visible(status)))

    def render(self) -> Group | Text:
        """What the terminal shows now."""
        return self._content


class LiveTraining(TrainingDisplay):
    """Two lines at the foot of a terminal: where training stands, and a bar."""

    live = True

    def __init__(self, console: Console, done: int, total: int) -> None:
        # Passes differ in speed, so the time left is taken over minutes and not over seconds.
        self._bar = Progress(
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            Speed(),
            TextColumn("{task.fields[left]}"),
            console=console,
            expand=True,
        )
        self._whole = Progress(console=console, speed_estimate_period=600)
        self._all = self._whole.add_task("", total=total, completed=done)
        self._pass = self._bar.add_task("", total=None, unit="images", left="")
        self._title, self._scored = "", ""

    def begin(self, title: str, total: int) -> None:
        """Show its title and an empty bar."""
        self._title = visible(title)
        self._bar.reset(self._pass, total=total)

    def advance(self, images: int) -> None:
        """Move the bar."""
        self._bar.advance(self._pass, images)
        self._whole.advance(self._all, images)

    def scores(self, auroc: float, best: float | None) -> None:
        """Show them from now on."""
        self._scored = f", valid AUROC {number(auroc, 4)}, best {number(best, 4)}"

    def render(self) -> Group:
        """What the terminal shows now."""
        left = self._whole.tasks[0].time_remaining
        shown = "" if left is None else f"{timedelta(seconds=int(left))} left"
        self._bar.update(self._pass, left=shown)
        loss = "" if self.loss is None else f", loss {self.loss:.4f}"
        line = Text(f"{self._title}{loss}{self._scored}", overflow="ellipsis", no_wrap=True)
        return Group(line, self._bar)


class Speed(ProgressColumn):
    """Units a second, over the step so far."""

    def render(self, task: Task) -> Text:
        """The column's text for one step."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {task.fields['unit']}/s" if speed else "")


def make_console(*, stderr: bool = False) -> Console:
    """A console that is 80 columns wide, without colour, where it is not a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PLAIN_WIDTH
    return Console(file=stream, width=width, highlight=False, emoji=False)


def _say(console: Console, text: str, before: str = "") -> None:
    """Print a sentence: broken between words on a terminal, a line of its own in a file.

    `before` may hold markup.
    """
    console.print(f"{before}{_plain(as_called(text))}", soft_wrap=not console.is_terminal)


def _plain(text: str) -> str:
    """A text that is neither markup nor a terminal's commands, whatever names it holds."""
    return escape(visible(text))


def on_terminal() -> bool:
    """Whether results are read by a person."""
    return sys.stdout.isatty()


class Reporter:
    """What a command says while it works, on stderr."""

    repeats = False
    """Whether the same warning is shown again."""

    def __init__(
        self, *, quiet: bool = False, verbose: bool = False, progress: bool = True
    ) -> None:
        self.quiet, self.verbose = quiet, verbose
        self._warned: set[str] = set()
        self.console = make_console(stderr=True)
        self.bars = progress and not quiet and self.console.is_terminal

    def note(self, text: str) -> None:
        """A line about what is being done, unless quiet."""
        if not self.quiet:
            _say(self.console, text)

    def detail(self, text: str) -> None:
        """A line for those who asked for more."""
        if self.verbose:
            self.note(text)

    def warn(self, text: str) -> None:
        """A warning, also when quiet; the same one is shown once."""
        if self.repeats or text not in self._warned:
            self._warned.add(text)
            _say(self.console, text, "[yellow]warning:[/yellow] ")

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """show that a step of unknown length is running; nothing without a terminal."""
        with self.console.status(_plain(what)) if self.bars else nullcontext():
            yield

    @contextmanager
    def steps(
        self, what: str, total: int, unit: str = "images", *, summary: bool = True
    ) -> Iterator[Advance]:
        """Show how far a step of `total` units is; without a terminal, a line when it ends."""
        started, done = time.perf_counter(), 0
        columns = (
            TextColumn("{task.description}", markup=False),
            *(BarColumn(bar_width=None), MofNCompleteColumn(), Speed(), TimeLeft(compact=True)),
        )
        shown = Progress(*columns, console=self.console, transient=True, expand=True)
        with shown if self.bars else nullcontext() as bar:
            task = bar.add_task(visible(what), total=total, unit=unit) if bar else None

            def advance(amount: int) -> None:
                nonlocal done
                done += amount
                if bar and task is not None:
                    bar.update(task, completed=done, total=max(total, done))

            yield advance
        seconds = time.perf_counter() - started
        if summary and seconds > SHOWN_SECONDS:
            rate = f"{done:,} {unit} in {seconds:.1f} s, {done / seconds:,.0f} {unit}/s"
            self.note(f"{what}: {rate}")

    @contextmanager
    def training(self, done: int, total: int) -> Iterator[TrainingDisplay]:
        """Show a training of `total` images over all epochs, of which `done` are behind it."""
        if not self.bars:
            yield TrainingDisplay()
            return
        display = LiveTraining(self.console, done, total)
        with Live(console=self.console, transient=True, get_renderable=display.render):
            yield display

    @contextmanager
    def searching(self) -> Iterator[SearchDisplay]:
        """Show the trials of a search."""
        display = SearchDisplay(live=self.bars)
        live = Live(console=self.console, transient=True, get_renderable=display.render)
        with live if self.bars else nullcontext():
            yield display


SILENT = Reporter(quiet=True, progress=False)
"""For those who call the workflows as functions: each call has its own warnings."""
SILENT.repeats = True


class Mute(Reporter):
    """Says nothing, not even a warning: of several processes another one speaks."""

    def __init__(self) -> None:
        super().__init__(quiet=True, progress=False)

    def warn(self, text: str) -> None:
        """Nothing."""


def print_error(text: str, code: int = 1) -> None:
    """One error message on stderr; a stop that was asked for is none."""
    kind = "" if code == STOPPED else "[bold red]error:[/bold red] "
    _say(make_console(stderr=True), text, kind)


def print_json(values: dict[str, Any]) -> None:
    """One JSON object on stdout, and nothing else there."""
    text = json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False)
    sys.stdout.write(json_escaped(text) + "\n")


class HasJson(Protocol):
    """What a command came to."""

    def as_json(self) -> dict[str, Any]:
        """The same as `--json` prints it."""


def without_tables(result: HasJson, common: CommonConfig, *, needed: bool = False) -> bool:
    """Print JSON where it is asked for; whether that, or `--quiet`, is all that is to be shown.

    Args:
        result: of the command.
        common: its options.
        needed: whether quiet ones see the tables too, as what is written nowhere else.
    """
    if common.json:
        print_json(result.as_json())
    return common.json or (common.quiet and not needed)


def print_table(table: Table) -> None:
    """A table on stdout; off a terminal, without blanks at the ends of lines."""
    console = make_console()
    if console.is_terminal:
        console.print(table, end="\n\n")
        return
    with console.capture() as capture:
        console.print(table)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    sys.stdout.write("\n".join([*lines, "", ""]))


def print_line(text: str = "") -> None:
    """A line on stdout."""
    _say(make_console(), text)


def print_text(text: str) -> None:
    """Text on stdout, such as CSV: for other programs as it is, on a terminal to be read."""
    sys.stdout.write(visible(text) if on_terminal() else text)


def next_command(command: str, common: CommonConfig) -> None:
    """Name the command that comes next, as the user has to type it, on stdout; unless quiet."""
    if not common.quiet:
        line = _plain(f"{program()} {command}{workspace_option(common.workspace)}")
        console = make_console()
        console.print(f"[dim]next:[/dim] [bold]{line}[/bold]", soft_wrap=not console.is_terminal)


def table(
    title: str, columns: dict[str, str], rows: list[list[str]], *, wrap: bool = False
) -> Table:
    """A plain table; `columns` maps each heading to `left` or `right`; long cells may `wrap`."""
    made = Table(
        title=_plain(title) or None,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),  # seven columns of scores fit into 80
    )
    for heading, side in columns.items():
        made.add_column(
            _plain(heading), justify="right" if side == "right" else "left", no_wrap=not wrap
        )
    for row in rows:
        made.add_row(*(_plain(cell) for cell in row))
    return made
