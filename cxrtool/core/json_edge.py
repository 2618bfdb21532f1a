"""Results as JSON: their fields in order, an estimate as two keys."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from cxrtool.core.numbers import Estimate


class JsonResult:
    """A dataclass that JSON holds field by field, an estimate `auroc` as `auroc` and `auroc_ci`."""

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values; null where the data do not define one."""
        found: dict[str, Any] = {}
        for name in (one.name for one in fields(self)):  # type: ignore[arg-type]
            value = getattr(self, name)
            if isinstance(value, Estimate):
                found[name] = value.value
                found[f"{name}_ci"] = value.interval and list(value.interval)
            else:
                found[name] = plain(value)
        return found


def plain(value: Any) -> Any:
    """A value of a field as JSON has it."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    return value.as_json() if hasattr(value, "as_json") else value
