"""`gui`: a page on this machine where images are read, and the same as an HTTP interface."""

import secrets
import ssl
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
from cxrtool.core.private_folder import private_folder
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.gui import model_card
from cxrtool.gui.heat_layers import Explains, HeatMaps
from cxrtool.inference import model_facts
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.scorer import Scorer, is_exported, load_model
from cxrtool.networks.published_runs import run_of

if TYPE_CHECKING:
    from cxrtool.gui.desk import Model
    from cxrtool.gui.gate import Gate

MIB = 2**20
LOOPBACK = ("127.0.0.1", "localhost", "::1")
WAITING = 4
"""So many times what can be sent at once may be there at once."""
NO_MAPS = "An exported model has no heat maps: they need the run itself (cxrtool gui --run NAME)"
LIBRARIES = ("fastapi", "uvicorn", "multipart", "prometheus_client")
"""Of the extra."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page that is ready to be served."""

    config: GuiConfig
    url: str
    """With the token, where there is one: what a browser opens."""
    run: str
    """The first of the models."""
    engine: str
    """With device and precision, in words."""
    gate: "Gate"
    models: "tuple[Model, ...]"
    socket: socket

    def as_json(self) -> dict[str, Any]:
        """The page as `--json` prints it."""
        return {"url": self.url, "run": self.run, "engine": self.engine}

    def serve(self) -> None:
        """Serve until Ctrl-C."""
        from cxrtool.gui.server import serve
        from cxrtool.images.film import warm_up

        for model in self.models:
            model.heat.start()
        threading.Thread(target=warm_up, daemon=True).start()
        if self.config.browser:
            # It may be a program that only ends when it is closed.
            threading.Thread(target=webbrowser.open, args=[self.url], daemon=True).start()
        serve(self.gate, self.socket, self.config.tls_cert, self.config.tls_key)


@contextmanager
def open_page(
    config: GuiConfig, workspace: Workspace, reporter: Reporter = SILENT
) -> Iterator[Page]:
    """A page with models behind it; at the block's end nothing is left of what was sent.

    Raises:
        DataError: the port is in use.
        RunError: no such run, or it is incomplete or altered.
        UsageError: the extra is not installed, or no such address, device, engine or certificate.
    """
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise UsageError(f"the page needs {', '.join(missing)}: pip install 'cxrtool[gui]'")
    from cxrtool.gui.server import bind, listen, url_of

    _check(config)
    token = _token(config)
    with (
        private_folder("gui") as folder,
        _temporary_files_in(folder),
        bind(config.host, config.port) as made,
    ):
        models = tuple(_model(name, config, workspace, reporter) for name in config.run or (None,))
        with reporter.busy("preparing the page"):
            gate = _gate(config, models, token, reporter)
        _warn(config, token, reporter)
        listen(made, config.host, config.port)
        scorer = models[0].scorer
        yield Page(
            config=config,
            url=url_of(made, config.host, secure=config.tls_cert is not None)
            + (f"?token={token}" if token else ""),
            run=scorer.name,
            engine=scorer.description,
            gate=gate,
            models=models,
            socket=made,
        )


def _check(config: GuiConfig) -> None:
    """Refuse options that do not go together, before anything is loaded.

    Raises:
        UsageError: they do not.
    """
    if config.root is not None and not config.root.is_dir():
        raise UsageError(f"--root {config.root} is not a folder")
    names = list(config.run or ())
    if len(set(names)) < len(names):
        raise UsageError("--run names the same run twice")
    if (config.tls_cert is None) != (config.tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together: give both, or neither")
    if config.tls_cert is not None and config.tls_key is not None:
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            # Else OpenSSL asks for the password on the terminal, where a service has none.
            context.load_cert_chain(config.tls_cert, config.tls_key, password=lambda: "")
        except (OSError, ValueError) as error:
            raise UsageError(
                f"--tls-cert {config.tls_cert}, --tls-key {config.tls_key}: not a certificate "
                f"with its key, in PEM and without a password ({error})"
            ) from None


def _token(config: GuiConfig) -> str:
    """What requests have to show: the user's, none on this machine alone, else a random one."""
    if config.token is not None:
        return config.token
    return "" if config.host in LOOPBACK else secrets.token_urlsafe(24)


def _warn(config: GuiConfig, token: str, reporter: Reporter) -> None:
    """Say who can use the page, where others than this machine can."""
    if config.host in LOOPBACK:
        return
    if not token:
        reporter.warn(
            f"--host {config.host}: everybody who reaches this machine can use the page, without "
            "a token"
        )
    if config.tls_cert is None:
        reporter.warn(
            f"--host {config.host} without --tls-cert and --tls-key: images and the token cross "
            "the network unencrypted"
        )


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """While the block runs, all temporary files go to a folder."""
    before = tempfile.tempdir
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _model(
    name: str | None, config: GuiConfig, workspace: Workspace, reporter: Reporter
) -> "Model":
    from cxrtool.gui.desk import Model

    exported = is_exported(workspace.runs, name)
    run = None if exported else run_of(workspace.runs, name, reporter)
    compute = Compute(engine=config.engine, device=config.device, precision=config.precision)
    scorer = load_model(workspace.runs, name, compute, reporter)
    if run is None:
        from cxrtool.inference.engines.exported import read_exported

        card = read_exported(Path(str(name)))
        return Model(
            scorer=scorer,
            facts=model_card.facts_of_file(
                Path(str(name)), card.about, scorer.description, scorer.promises
            ),
            known=model_facts.facts_of_exported(scorer.name, card),
            heat=HeatMaps(None, NO_MAPS),
        )
    return Model(
        scorer=scorer,
        facts=model_card.facts_of_run(run, scorer.description),
        known=model_facts.facts_of_run(run.name, read_card(run)),
        heat=HeatMaps(lambda: _explainer(run, scorer)),
    )


def _explainer(run: RunFolder, scorer: Scorer) -> Explains:
    from cxrtool.networks.class_activation import load_explainer

    return load_explainer(run, scorer.engine.device)


def _gate(config: GuiConfig, models: "tuple[Model, ...]", token: str, reporter: Reporter) -> "Gate":
    from cxrtool.gui.app import make_app
    from cxrtool.gui.desk import Desk
    from cxrtool.gui.gate import Gate
    from cxrtool.gui.intake import Intake, Room

    most_bytes = config.max_mb * MIB
    desk = Desk(models=models, reporter=reporter)
    intake = Intake(room=Room(WAITING * most_bytes), most_bytes=most_bytes, root=config.root)
    return Gate(
        app=make_app(desk, intake, most_mb=config.max_mb),
        host=config.host,
        allowed=config.allow_host or (),
        token=token,
        most_bytes=most_bytes,
        count=desk.counters.requested,
    )
