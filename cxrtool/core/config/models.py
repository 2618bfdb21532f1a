"""The options of `models`."""

from dataclasses import dataclass
from pathlib import Path

from cxrtool.core.config.option import DATA, OUTPUT, Config, option


@dataclass(frozen=True, kw_only=True)
class ModelsConfig(Config):
    """`models`."""

    action: str | None = option(
        None, DATA, choices=("fetch", "show"), metavar="ACTION", argument=True
    ).help(
        "fetch: download weights into the models folder, the one command that does. show: all that "
        "is known of them. Without it: list the starts."
    )
    names: list[str] | None = option(None, DATA, metavar="START", argument=True).help(
        "Starts, architectures (their ImageNet weights), or hf:OWNER/REPOSITORY[:FILE]."
    )
    from_file: Path | None = option(None, DATA, flags=("--from",), metavar="FILE").help(
        "With fetch: take this file, which somebody downloaded, and check it."
    )
    force: bool = option(False, OUTPUT).help("With fetch: again, though the file is here.")
