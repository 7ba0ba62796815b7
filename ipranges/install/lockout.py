"""Not cutting off the person at the keyboard: the SSH guard, and an enforcement that must be confirmed."""

from __future__ import annotations

from collections.abc import Mapping

from ipranges.config import NftablesTarget, TargetConfig
from ipranges.errors import MalformedNetworkError, NotAllowedError
from ipranges.networks import NetworkSet, parse_address
from ipranges.state import StateStore, TargetRecord


def verify_not_locked_out(
    target: NftablesTarget, networks: NetworkSet, record: TargetRecord | None, environment: Mapping[str, str]
) -> None:
    """Raises NotAllowedError if the first enforcement would cut the SSH connection that we run in.

    Only where SSH's own port is among the managed ones: no other port is ever touched.
    """
    if record is not None or target.mode != "enforce":
        return
    words = environment.get("SSH_CONNECTION", "").split()
    if len(words) != 4 or not words[3].isdigit() or int(words[3]) not in target.ports:
        return
    try:
        family, address = parse_address(words[0].partition("%")[0].removeprefix("::ffff:"))
    except MalformedNetworkError:
        return
    if not networks.contains(family, address):
        raise NotAllowedError(
            f"you came in over SSH from {words[0]} to port {words[3]}, which this would close to you; "
            "add your address to `always_allow`, or take the port out of `ports`"
        )


def note_name(label: str) -> str:
    """The name of the note about an enforcement that waits for a person."""
    return f"confirm-{label}"


def settle_mode(target: TargetConfig, store: StateStore, *, now: float) -> tuple[TargetConfig, str]:
    """The target in the mode that it may have now, and why it is not the configured one.

    An enforcement that nobody confirmed in time stays switched off until somebody does: a person who was
    cut off must get in again, also if the run that should have put it back was killed.
    """
    if not isinstance(target, NftablesTarget) or target.mode != "enforce":
        return target, ""
    note = store.load_note(note_name(target.label))
    if note is None or float(note["deadline"]) > now:
        return target, ""
    message = f"enforcing was not confirmed; try again: ipranges enforce --confirm 120 {target.label}"
    return target.model_copy(update={"mode": "observe"}), message
