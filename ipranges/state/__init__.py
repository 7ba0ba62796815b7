"""What is remembered between runs, as files that a person can read."""

from ipranges.state.lock import hold_lock
from ipranges.state.store import Generation, StateStore, TargetRecord

__all__ = ["Generation", "StateStore", "TargetRecord", "hold_lock"]
