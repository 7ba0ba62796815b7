"""Values that are made quickly are values like any other frozen dataclass."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, field, replace

import pytest

from authd.frozen import quick_init


@dataclass(frozen=True, slots=True)
class Slow:
    first: int
    second: str = "two"
    third: list[int] = field(default_factory=list)


@quick_init
@dataclass(frozen=True, slots=True)
class Quick:
    first: int
    second: str = "two"
    third: list[int] = field(default_factory=list)


def test_it_takes_what_the_dataclass_would_take() -> None:
    for args, kwargs in [((1,), {}), ((1, "b"), {}), ((1,), {"third": [3]}), ((), {"second": "b", "first": 1})]:
        assert asdict(Quick(*args, **kwargs)) == asdict(Slow(*args, **kwargs))
    assert list(inspect.signature(Quick).parameters) == list(inspect.signature(Slow).parameters)


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1, "b", [], 4), {}), ((1,), {"fourth": 4}), ((1,), {"first": 1})]
)
def test_it_refuses_what_the_dataclass_would_refuse(args: tuple[int, ...], kwargs: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="__init__"):
        Quick(*args, **kwargs)  # type: ignore[arg-type]


def test_nothing_can_be_changed_afterwards() -> None:
    value = Quick(1)
    with pytest.raises(FrozenInstanceError):
        value.first = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del value.first
    with pytest.raises((AttributeError, TypeError)):
        value.fourth = 4  # type: ignore[attr-defined]


def test_a_default_that_is_made_is_nobody_elses() -> None:
    assert Quick(1).third is not Quick(1).third


def test_it_is_compared_copied_and_kept_like_any_value() -> None:
    value = Quick(1, third=[3])
    assert value == Quick(1, third=[3]) != Quick(2, third=[3])
    assert replace(value, first=2) == Quick(2, third=[3])
    assert copy.deepcopy(value) == value == pickle.loads(pickle.dumps(value))
    assert repr(value) == "Quick(first=1, second='two', third=[3])"


def test_what_follows_the_fields_is_called() -> None:
    @quick_init
    @dataclass(frozen=True, slots=True)
    class Checked:
        number: int

        def __post_init__(self) -> None:
            if self.number < 0:
                raise ValueError("negative")

    assert Checked(1).number == 1
    with pytest.raises(ValueError, match="negative"):
        Checked(-1)


def test_a_field_that_would_be_left_out_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(TypeError, match="Derived has a field"):

        @quick_init
        @dataclass(frozen=True, slots=True)
        class Derived:
            number: int = field(init=False, default=1)

    with pytest.raises(TypeError, match="Named has a field"):

        @quick_init
        @dataclass(frozen=True, slots=True)
        class Named:
            number: int = field(kw_only=True)
