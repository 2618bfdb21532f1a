"""The options of the commands that take a model to images: `predict`, `gui`, `export`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cxrtool.core import config as config

MOST_IN_A_BATCH = 65_536
# Options of these names that `options` has too are given to the commands in their place.
OF_PREDICT: dict[str, Any] = {
    "run": Annotated[
        list[str] | None,
        typer.Option(
            help="Run's name or path, or an exported model (.onnx); several: the mean of their "
            "probabilities.",
            show_default="the last finished one",
        ),
    ],
    "output": Annotated[
        Path | None,
        typer.Option(
            help="Table to write: CSV, or JSON or JSON lines by its ending (.json, .jsonl).",
            metavar="FILE",
        ),
    ],
    "resume": Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with an --output that was interrupted, or to which images were added; "
            "rows that are done are kept.",
        ),
    ],
    "split": Annotated[
        Literal[config.SPLITS] | None,
        typer.Option(
            help="Of a manifest, the images in this part of its split.", show_default="all"
        ),
    ],
    "batch_size": Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_IN_A_BATCH,
            help="Images in a batch.",
            show_default="the engine's fastest",
        ),
    ],
}
OF_GUI: dict[str, Any] = {
    "run": Annotated[
        str | None,
        typer.Option(
            help="Run's name or path, or an exported model (.onnx), which has no heat maps.",
            show_default="the last finished one",
        ),
    ],
}
OF_EXPORT: dict[str, Any] = {
    "output": Annotated[
        Path | None,
        typer.Option(help="File to write.", metavar="FILE.onnx", show_default="RUN.onnx"),
    ],
}
PREDICTION: dict[str, Any] = {
    "check": Annotated[
        list[Path] | None,
        typer.Option(
            help="Images, or folders of them, on which the file is held against the run.",
            metavar="FILE|DIR",
            show_default="16 of the run's valid part",
        ),
    ],
    "allow_host": Annotated[
        list[str] | None,
        typer.Option(
            help="Another name under which browsers may ask for the page, as behind a proxy; "
            "several times for several.",
            metavar="NAME",
        ),
    ],
    "browser": Annotated[bool, typer.Option("--browser", help="Open the page in the browser.")],
    "engine": Annotated[
        Literal[config.ENGINES],
        typer.Option(
            help="What computes. auto: on a GPU torch; on a CPU OpenVINO where it is installed "
            "(cxrtool[cpu]), else the faster of torch and ONNX Runtime."
        ),
    ],
    "heatmap_labels": Annotated[
        str | None,
        typer.Option(
            help="With --heatmaps: the findings to draw.",
            metavar="A,B,...",
            show_default="those at or over their threshold",
        ),
    ],
    "heatmap_method": Annotated[
        Literal[config.HEATMAPS],
        typer.Option(
            help="With --heatmaps: what speaks for a finding (Grad-CAM), or what speaks for and "
            "against it (class activation map)."
        ),
    ],
    "heatmaps": Annotated[
        Path | None,
        typer.Option(
            help="Folder for heat maps: a PNG and the raw map (.npy) for each finding of each "
            "image.",
            metavar="DIR",
        ),
    ],
    "host": Annotated[
        str,
        typer.Option(
            help="Address to serve at. Any other than 127.0.0.1 lets other machines in: there is "
            "no password.",
        ),
    ],
    "json_lines": Annotated[
        bool,
        typer.Option("--json-lines", help="A JSON object a line on stdout, as it is scored."),
    ],
    "max_mb": Annotated[
        int, typer.Option(min=1, max=10_000, help="Most MiB of the files dropped at once.")
    ],
    "port": Annotated[
        int, typer.Option(min=0, max=65535, help="Port to serve at; 0: any that is free.")
    ],
    "tta": Annotated[
        bool,
        typer.Option(
            "--tta",
            help="Score each image five times, turned and scaled a little (never mirrored), and "
            "take the mean: a fifth of the speed.",
        ),
    ],
}
