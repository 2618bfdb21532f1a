"""`gui`: a page on this machine where images are dropped and findings are read."""

import os
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Any

from cxrtool.core.config import GuiConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import UsageError
from cxrtool.core.runs import RunFolder, find_run
from cxrtool.core.workspace import Workspace
from cxrtool.gui.desk import Desk
from cxrtool.gui.heat_layers import Explains, HeatMaps
from cxrtool.gui.model_card import Facts, facts_of_file, facts_of_run
from cxrtool.gui.private_folder import private_folder
from cxrtool.gui.uploads import Uploads
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.scorer import Scorer, is_exported, load_model

if TYPE_CHECKING:
    from cxrtool.gui.guard import Guard

MIB = 2**20
LOOPBACK = ("127.0.0.1", "localhost", "::1")
WAITING = 4
"""So many times what can be dropped at once may wait to be looked at."""
SILENCE = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""What keeps Gradio, and the library that it reports through, off the network."""
NO_MAPS = "An exported model has no heat maps: they need the run itself (cxrtool gui --run NAME)"


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page that is ready to be served."""

    config: GuiConfig
    url: str
    run: str
    engine: str
    """With device and precision, in words."""
    guard: "Guard"
    heat: HeatMaps
    socket: socket

    def as_json(self) -> dict[str, Any]:
        """The page as `--json` prints it."""
        return {"url": self.url, "run": self.run, "engine": self.engine}

    def serve(self) -> None:
        """Serve until Ctrl-C."""
        from cxrtool.gui.server import serve

        self.heat.start()
        if self.config.browser:
            # It may be a program that only ends when it is closed.
            threading.Thread(target=webbrowser.open, args=[self.url], daemon=True).start()
        serve(self.guard, self.socket)


@contextmanager
def open_page(
    config: GuiConfig, workspace: Workspace, reporter: Reporter = SILENT
) -> Iterator[Page]:
    """A page with a model behind it; at the block's end nothing is left of what was dropped.

    Raises:
        DataError: the port is in use.
        RunError: no such run, or it is incomplete or altered.
        UsageError: the extra is not installed, or no such address, device or engine.
    """
    if find_spec("gradio") is None:
        raise UsageError("the page needs Gradio: pip install 'cxrtool[gui]'")
    from cxrtool.gui.server import bind, listen, url_of

    run = None if is_exported(workspace.runs, config.run) else find_run(workspace.runs, config.run)
    with (
        private_folder() as folder,
        _temporary_files_in(folder),
        bind(config.host, config.port) as made,
    ):
        compute = Compute(engine=config.engine, device=config.device, precision=config.precision)
        scorer = load_model(workspace.runs, config.run, compute, reporter)
        if config.host not in LOOPBACK:
            reporter.warn(
                f"--host {config.host}: everybody who reaches this machine can use the page, "
                "without a password"
            )
        heat = HeatMaps(None, NO_MAPS) if run is None else HeatMaps(lambda: _explainer(run, scorer))
        with reporter.busy("loading Gradio"):
            desk = Desk(scorer, heat, Uploads(folder, WAITING * config.max_mb * MIB), reporter)
            guard = _guard(config, _facts(run, scorer, config), desk)
        listen(made, config.host, config.port)
        yield Page(
            config=config,
            url=url_of(made, config.host),
            run=scorer.name,
            engine=scorer.description,
            guard=guard,
            heat=heat,
            socket=made,
        )


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """While the block runs, all temporary files go to a folder."""
    variables, tempdir = dict(os.environ), tempfile.tempdir
    # Gradio obeys many variables: share links, other folders to serve, telemetry.
    for name in [name for name in variables if name.startswith("GRADIO_")]:
        del os.environ[name]
    os.environ |= {**SILENCE, "GRADIO_TEMP_DIR": str(folder)}
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = tempdir
        os.environ.clear()
        os.environ.update(variables)


def _facts(run: RunFolder | None, scorer: Scorer, config: GuiConfig) -> Facts:
    if run is not None:
        return facts_of_run(run, scorer.description)
    from cxrtool.inference.engines.exported import read_exported

    path = Path(str(config.run))
    return facts_of_file(path, read_exported(path).about, scorer.description)


def _explainer(run: RunFolder, scorer: Scorer) -> Explains:
    from cxrtool.networks.class_activation import load_explainer

    return load_explainer(run, scorer.engine.device)


def _guard(config: GuiConfig, facts: Facts, desk: Desk) -> "Guard":
    from cxrtool.gui.gradio_app import INDEX, make_app
    from cxrtool.gui.guard import Guard
    from cxrtool.gui.site import site

    most_bytes = config.max_mb * MIB
    return Guard(
        make_app(desk.look_at, most_bytes),
        site(facts, INDEX, most_mb=config.max_mb, absent=desk.heat.absent),
        desk.uploads,
        host=config.host,
        allowed=config.allow_host or (),
        most_bytes=most_bytes,
    )
