"""YAML files of options: plain values, bounded, each key once; nothing in a file is run.

Not libyaml's loader: brackets that are nested too deep end the whole process in it.
"""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from cxrtool.core.errors import DataError
from cxrtool.core.files import read_text

MOST = 256 * 2**10
"""Bytes of a file; ours have about one thousand."""
DEEPEST = 20
"""Lists and mappings within each other; ours have three."""
_NULL = "tag:yaml.org,2002:null"


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases, equal keys and depth without end.

    A few aliases of aliases are billions of values when they are walked through; of two equal keys
    PyYAML takes the last one.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """PyYAML's, but for an alias, or what lies too deep, which raise MarkedYAMLError."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise _problem(f"an alias (*{event.anchor}) is not read: write its value out", event)
        if self._depth >= DEEPEST:
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise _problem(f"more than {DEEPEST} lists or mappings in one", event)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """PyYAML's, but that what it cannot make of a value raises MarkedYAMLError: no such day,
        or a tag before what it does not fit, as in `!!bool maybe`."""
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise _problem(f"there is no such value ({reason})", node) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """PyYAML's, but for two equal keys, or one that cannot be, which raise MarkedYAMLError."""
        lines: dict[Any, int] = {}
        # With a tag, as in `!!map [a]`, it may be none: PyYAML says so below.
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise _problem("a list or a mapping cannot be a key", key_node)
            line = key_node.start_mark.line + 1
            if key in lines:
                raise _problem(f"{key} occurs twice, first in line {lines[key]}", key_node)
            lines[key] = line
        return super().construct_mapping(node, deep)


class _TextLoader(_PlainLoader):
    """The same, but every value is the text that stands there, as on a command line.

    YAML makes a number of the name 1.10 and of 2024_01, and true of `on`. What is left empty, or
    is null, stays nothing.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way
        first: [(tag, pattern) for tag, pattern in resolvers if tag == _NULL]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _problem(text: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=at.start_mark)


def read_yaml(path: Path, *, as_text: bool = False) -> dict[Any, Any]:
    """A YAML file's keys and values.

    Args:
        path: of the file.
        as_text: numbers, dates and words such as `off` stay the text that they are written as, so
            that each option makes of it what it makes of a flag's.

    Raises:
        DataError: it cannot be read, is larger than `MOST`, is not YAML, has an alias or a key
            twice, or holds something else than a mapping; the message names the line.
    """
    try:
        loader = _TextLoader if as_text else _PlainLoader
        values = yaml.load(read_text(path, MOST), Loader=loader)
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} cannot be read: it is not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = "" if mark is None else f", line {mark.line + 1}"
        raise DataError(f"{path}{place} cannot be read as YAML: {error.problem}") from None
    # A character that YAML, or Unicode, does not have.
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} cannot be read as YAML: {reason}") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: `option: value` lines were expected")
    return values
