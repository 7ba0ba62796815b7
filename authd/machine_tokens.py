"""What an application is shown of a machine: a token of ours, signed once and shown until it ends.

The machine's own credential is none of the application's business, and one verifier should serve people and machines.
"""

from __future__ import annotations

from collections.abc import Callable

from authd.tokens import MachineToken, Tokens

MAX_REMEMBERED = 10_000
# An application takes its time with a token, and its clock may differ.
RENEWED_BEFORE_SECONDS = 60


class MachineTokens:
    """Issues. One for each worker; signing costs 0.4 ms, and a script may ask a hundred times a second."""

    def __init__(self, tokens: Tokens, *, clock: Callable[[], float]) -> None:
        self._tokens = tokens
        self._clock = clock
        self._issued: dict[tuple[str, str, int, int], MachineToken] = {}

    def issue(self, name: str, *, audience: str, until: int, duration_seconds: int) -> MachineToken:
        """A token for one application. It ends with the machine's own credential (`until`, in Unix seconds) at the
        latest."""
        key = (audience, name, until, duration_seconds)
        now = int(self._clock())
        issued = self._issued.get(key)
        needed_until = min(until, now + min(RENEWED_BEFORE_SECONDS, duration_seconds // 2))
        if issued is None or issued.expires_at < needed_until or not self.is_fresh(issued):
            expires_at = min(until, now + duration_seconds)
            issued = self._tokens.issue_machine_token(name, audience=audience, expires_at=expires_at)
            if len(self._issued) >= MAX_REMEMBERED:
                self._issued.pop(next(iter(self._issued)))
            self._issued[key] = issued
        return issued

    def is_fresh(self, issued: MachineToken) -> bool:
        """Whether an application would still accept it."""
        return issued.expires_at > self._clock() and self._tokens.still_verifies(issued)
