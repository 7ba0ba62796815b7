"""An identity provider that says what a test tells it to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from authd.model import Identity, LogoutToken, Vouched


@dataclass
class HandMadeProvider:
    """Says whatever `answer` gives; remembers what it was asked."""

    answer: Callable[[], Identity]
    begun: list[dict[str, str | None]] = field(default_factory=list)
    finished: int = 0

    async def begin(self, *, state: str, nonce: str, code_verifier: str, prompt: str | None) -> str:
        self.begun.append({"state": state, "nonce": nonce, "code_verifier": code_verifier, "prompt": prompt})
        return f"https://idp.example.com/authorize?state={state}"

    async def finish(self, unverified_query: str, *, nonce: str, code_verifier: str) -> Vouched:
        self.finished += 1
        assert self.begun[-1]["nonce"] == nonce
        assert self.begun[-1]["code_verifier"] == code_verifier
        return Vouched(self.answer())

    async def refresh(self, identity: Identity, refresh_token: str) -> Vouched:
        raise NotImplementedError

    async def logout_url(self, id_token: str | None, *, return_url: str) -> str | None:
        return None

    async def read_logout_token(self, unverified_text: str) -> LogoutToken | None:
        return None

    def close(self) -> None:
        """Nothing to let go of."""
