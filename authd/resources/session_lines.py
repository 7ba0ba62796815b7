"""A person's own sessions in words, for the page at the team host's root."""

from __future__ import annotations

from datetime import UTC, datetime

from authd.model import Session
from authd.resources.device_names import name_device
from authd.resources.pages import SessionLine


def describe_session(session: Session, used_at: int, *, own: Session | None) -> SessionLine:
    """Device, place and times (UTC) of a session; `own` is the one that asks."""
    place = f"{session.client_ip} ({session.country})" if session.country else session.client_ip
    return SessionLine(
        id=session.id,
        device=name_device(session.user_agent),
        place=place,
        began=_render_time(session.created_at),
        used=_render_time(used_at),
        is_this_one=own is not None and own.id == session.id,
    )


def _render_time(unix_seconds: int) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
