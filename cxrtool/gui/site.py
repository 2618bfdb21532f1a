"""The page's own files, and the description of the HTTP interface as a page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

STATIC = Path(__file__).parent / "static"
SUFFIXES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
KINDS = {path.name: SUFFIXES[path.suffix] for path in sorted(STATIC.iterdir())}
"""The files that are served as they are, with their media types."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One address of the interface, for its description."""

    method: str
    path: str
    summary: str
    sends: tuple[tuple[str, str, str], ...]
    """Media type, name and description of each value."""
    answers: tuple[tuple[str, str], ...]
    """Status and what it means."""


def static_file(name: str) -> bytes:
    """A file of `KINDS`."""
    return (STATIC / name).read_bytes()


def page(model: str) -> str:
    """The page; all but its title comes from `/api/model`."""
    return _environment().get_template("page.html.j2").render(name=model)


def docs_page(schema: Mapping[str, Any]) -> str:
    """The interface, from its OpenAPI: nothing is fetched from elsewhere."""
    template = _environment().get_template("docs.html.j2")
    parts = schema.get("components", {}).get("schemas", {})
    kinds = {
        name: [
            (key, _type(one), one.get("description", ""))
            for key, one in part.get("properties", {}).items()
        ]
        for name, part in parts.items()
    }
    return template.render(
        title=schema["info"]["title"],
        version=schema["info"]["version"],
        description=schema["info"]["description"],
        operations=list(_operations(schema)),
        kinds=kinds,
    )


def _operations(schema: Mapping[str, Any]) -> Iterator[Operation]:
    for path, methods in schema["paths"].items():
        for method, one in methods.items():
            bodies = one.get("requestBody", {}).get("content", {})
            yield Operation(
                method=method.upper(),
                path=path,
                summary=one.get("summary", ""),
                sends=tuple(
                    (kind, name, f"{_type(value)}: {value.get('description', '')}".rstrip(": "))
                    for kind, body in bodies.items()
                    for name, value in body["schema"]["properties"].items()
                ),
                answers=tuple(
                    (status, answer["description"]) for status, answer in one["responses"].items()
                ),
            )


def _type(value: Mapping[str, Any]) -> str:
    """The type of a value in a JSON schema, in words."""
    if "$ref" in value:
        return str(value["$ref"]).rpartition("/")[2]
    if "anyOf" in value:
        return " or ".join(_type(one) for one in value["anyOf"])
    if "enum" in value:
        return ", ".join(str(one) for one in value["enum"])
    if "const" in value:
        return repr(value["const"])
    kind = str(value.get("type", "any"))
    if kind == "array" and "items" in value:
        return f"array of {_type(value['items'])}"
    return str(value.get("format") or kind)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("cxrtool.gui"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
