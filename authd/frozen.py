"""Frozen values that are made quickly: a check makes a dozen of them, with a hundred fields.

The `__init__` of a frozen dataclass looks for `object.__setattr__` by name and has it look for the field by name, which
is a third of what making one costs. A field with a slot has a descriptor, which is asked here at once. Nothing
else changes: the value is as frozen as before, and `__post_init__`, if any, is called (ADR 0126).
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

_Value = TypeVar("_Value", bound=type)
_FACTORY = object()
"""What stands for a default that is made anew each time."""


def quick_init(cls: _Value) -> _Value:
    """Give a `@dataclass(frozen=True, slots=True)` an `__init__` that fills its slots directly.

    Each field needs a slot of its own and stands in `__init__`, none of them by keyword only; TypeError otherwise, when
    the class is made.
    """
    described: tuple[Field[Any], ...] = fields(cls)
    if any(not each.init or each.kw_only for each in described):
        raise TypeError(f"{cls.__name__} has a field that __init__ does not take by position")
    names: dict[str, Any] = {"_FACTORY": _FACTORY}
    parameters, lines = ["self"], []
    for each in described:
        parameters.append(_render_parameter(each, names))
        names[f"_set_{each.name}"] = getattr(cls, each.name).__set__
        lines.append(f"    _set_{each.name}(self, {_render_value(each, names)})")
    if hasattr(cls, "__post_init__"):
        lines.append("    self.__post_init__()")
    source = "\n".join([f"def __init__({', '.join(parameters)}):", *lines])
    # As `dataclasses` itself does it. All that is run are names of fields, which a program of ours wrote.
    exec(source, names)  # noqa: S102
    made = names["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__module__, made.__annotations__ = cls.__module__, vars(cls)["__init__"].__annotations__
    cls.__init__ = made  # type: ignore[misc]
    return cls


def _render_parameter(each: Field[Any], names: dict[str, Any]) -> str:
    if each.default_factory is not MISSING:
        return f"{each.name}=_FACTORY"
    if each.default is not MISSING:
        names[f"_default_{each.name}"] = each.default
        return f"{each.name}=_default_{each.name}"
    return each.name


def _render_value(each: Field[Any], names: dict[str, Any]) -> str:
    if each.default_factory is MISSING:
        return each.name
    names[f"_make_{each.name}"] = each.default_factory
    return f"_make_{each.name}() if {each.name} is _FACTORY else {each.name}"
