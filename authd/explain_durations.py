"""`authd explain`, the second half: how long what was just allowed would hold, and which setting says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from authd.config import ApplicationConfig, Config, derive_policy_id
from authd.config.durations import render_duration
from authd.config.mistakes import Path, render_path
from authd.model import Decision, Identity, Outcome


@dataclass(frozen=True, slots=True)
class Setting:
    """A duration in seconds and the key where it stands; `is_default` if the file does not have it."""

    seconds: int
    place: str
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class Duration:
    """How long something holds: the first of `settings` wins, and the others stand behind it. Without any, for ever.

    Of `identity`, 0 is never.
    """

    what: str
    sentence: str
    settings: tuple[Setting, ...]

    def to_json(self) -> dict[str, Any]:
        winner, others = (self.settings[0], self.settings[1:]) if self.settings else (None, ())
        return {
            "what": self.what,
            "seconds": winner.seconds if winner else None,
            "setting": winner.place if winner else None,
            "is_default": winner.is_default if winner else True,
            "instead_of": [{"seconds": each.seconds, "setting": each.place} for each in others],
        }


def find_durations(config: Config, decision: Decision, identity: Identity | None) -> tuple[Duration, ...]:
    """What holds for somebody who was allowed; nothing for a machine, for a bypass, or where the edge decides it."""
    found = next((pair for pair in enumerate(config.applications) if pair[1].id == decision.application_id), None)
    if decision.outcome is not Outcome.ALLOW or identity is None or found is None or found[1].issuer:
        return ()
    login = _read(config, "session_duration")
    token = (*_read_application(*found, decision.policy_id), *login)
    return (
        Duration("token", "the application's token", token),
        Duration("login", "the login, for further applications", login),
        Duration("idle", "without being used", _read(config, "idle_timeout")),
        Duration("identity", "until the provider is asked again", _read_refresh(config, identity.provider_id)),
    )


def render_durations(durations: Iterable[Duration]) -> list[str]:
    """A line for each, for a terminal."""
    return [f"{each.sentence}: {_render(each)}" for each in durations]


def _render(duration: Duration) -> str:
    if not duration.settings:
        return "for ever"
    winner, *others = duration.settings
    text = "never" if duration.what == "identity" and not winner.seconds else render_duration(winner.seconds)
    text += f" ({winner.place}{', the default' if winner.is_default else ''}"
    behind = ", ".join(f"{render_duration(each.seconds)} of {each.place}" for each in others)
    return f"{text}; not {behind})" if behind else f"{text})"


def _read_application(position: int, application: ApplicationConfig, policy_id: str | None) -> Iterable[Setting]:
    place: Path = ("applications", position)
    for number, policy in enumerate(application.policies):
        if derive_policy_id(application, policy, number) == policy_id and policy.session_duration is not None:
            where = render_path((*place, "policies", number, "session_duration"))
            yield Setting(policy.session_duration, where)
    if application.session_duration is not None:
        yield Setting(application.session_duration, render_path((*place, "session_duration")))


def _read_refresh(config: Config, provider_id: str) -> tuple[Setting, ...]:
    for position, provider in enumerate(config.identity_providers):
        if provider.id == provider_id and provider.refresh_interval is not None:
            own = Setting(provider.refresh_interval, render_path(("identity_providers", position, "identity_refresh")))
            return (own, *_read(config, "identity_refresh"))
    return _read(config, "identity_refresh")


def _read(config: Config, key: str) -> tuple[Setting, ...]:
    seconds = getattr(config, key)
    return () if seconds is None else (Setting(seconds, key, is_default=key not in config.model_fields_set),)
