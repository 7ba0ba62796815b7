"""What is remembered of a source, also where its file is damaged."""

from __future__ import annotations

from dataclasses import dataclass

from ipranges.errors import StateDamagedError
from ipranges.model import Edition, SourceMemory
from ipranges.state import StateStore


@dataclass(frozen=True, slots=True)
class Recalled:
    """A memory, and what was wrong with it.

    `is_lost`: nothing is known of what was accepted, so nothing may rest on it; `is_newer`: a later
    version of ipranges wrote it, so it must not be overwritten either.
    """

    memory: SourceMemory
    problem: str = ""
    is_lost: bool = False
    is_newer: bool = False


def recall(store: StateStore, name: str) -> Recalled:
    """The memory of one source; a damaged one is rebuilt from the newest generation that has it."""
    try:
        return Recalled(store.load_memory(name))
    except StateDamagedError as error:
        if error.is_newer:
            return Recalled(SourceMemory(name), str(error), is_lost=True, is_newer=True)
        for generation in reversed(store.list_generations()):
            if name in generation.sources:
                edition = Edition(generation.sources[name], generation.created_at, url="")
                memory = SourceMemory(name, current=edition, changed_at=generation.created_at)
                return Recalled(memory, f"{error}; rebuilt from generation {generation.number}")
        return Recalled(SourceMemory(name), str(error), is_lost=True)
