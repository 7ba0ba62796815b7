"""What an operator revoked wholesale: all sessions of a person, a provider or everybody, all tokens of an application.

A revocation is a moment: whatever began then or before has ended. It needs no list of what there was, and a login that
was under way and is written a moment later has ended too. There are few, so each worker knows all of them by heart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from authd.model import Session


class Scope(StrEnum):
    """What is revoked; its id is a subject, a provider's id, an AUD tag, or empty."""

    PERSON = "person"
    PROVIDER = "provider"
    APPLICATION = "application"
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class Revocation:
    """Everything of that scope and id that began at `not_before` (Unix seconds) or earlier has ended.

    Of an application: every token whose issuer did not know of this revocation or a later one.
    """

    scope: Scope
    id: str
    not_before: int

    @property
    def name(self) -> str:
        """What is revoked, whenever that was."""
        return f"{self.scope}:{self.id}"

    def render(self) -> str:
        """One line, for the tombstone that tells the workers."""
        return f"{self.scope}:{self.not_before}:{self.id}"


def parse_revocation(text: str) -> Revocation:
    """What `render` wrote. Raises ValueError."""
    scope, not_before, id_ = text.split(":", 2)
    return Revocation(Scope(scope), id_, int(not_before))


class Revocations:
    """All revocations that one worker knows of."""

    def __init__(self) -> None:
        self._not_before: dict[tuple[Scope, str], int] = {}

    def learn(self, revocations: Iterable[Revocation]) -> None:
        """Know these from now on. An older one of the same name changes nothing."""
        for each in revocations:
            key = each.scope, each.id
            self._not_before[key] = max(each.not_before, self._not_before.get(key, 0))

    def ends_session(self, session: Session) -> bool:
        """Whether a session has ended by any of them."""
        if not self._not_before:
            return False
        keys = (
            (Scope.PERSON, session.identity.subject),
            (Scope.PROVIDER, session.identity.provider_id),
            (Scope.EVERYTHING, ""),
        )
        return any(session.created_at <= self._not_before.get(key, 0) for key in keys)

    def tokens_ended_at(self, audience: str) -> int:
        """The `not_before` of an application's last revocation; 0 without one."""
        return self._not_before.get((Scope.APPLICATION, audience), 0) if self._not_before else 0
