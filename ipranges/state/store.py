"""The state directory: one file a source, one for all stamps, one a target, one a generation."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ipranges.errors import StateDamagedError
from ipranges.files import read_if_there, remove_atomically, write_atomically
from ipranges.model import SourceMemory, Stamps
from ipranges.networks import NetworkSet
from ipranges.state import codec


@dataclass(frozen=True, slots=True)
class TargetRecord:
    """What was last proved to be live in one target: the set's digest, and a word for the rules around it."""

    sha256: str
    applied_at: int
    shape: str = ""


@dataclass(frozen=True, slots=True)
class Generation:
    """What every source allowed from one moment on."""

    number: int
    created_at: int
    sources: dict[str, NetworkSet]


class StateStore:
    """Reads and writes below `state_dir`. A file is written only where its content changes."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir

    def load_memory(self, name: str) -> SourceMemory:
        """One source's memory, an empty one on the first run; raises StateDamagedError."""
        path = self._source_path(name)
        body = read_if_there(path)
        if body is None:
            return SourceMemory(name)
        content = codec.parse_document("source", body, where=str(path))
        return codec.decode_memory(content, where=str(path))

    def save_memory(self, memory: SourceMemory) -> None:
        """Write one source's memory if it changed."""
        self._write(f"sources/{memory.name}.json", "source", codec.encode_memory(memory))

    def load_stamps(self) -> dict[str, Stamps]:
        """All sources' stamps. A damaged file counts as none: ages are then unknown, hence stale."""
        body = read_if_there(self.state_dir / "stamps.json")
        try:
            content = codec.parse_document("stamps", body, where="stamps.json") if body else {}
            return {name: Stamps(**value) for name, value in content.items()}
        except (StateDamagedError, TypeError):
            return {}

    def save_stamps(self, stamps: dict[str, Stamps]) -> None:
        """Write all sources' stamps; this happens on every run."""
        self._write("stamps.json", "stamps", {name: asdict(value) for name, value in stamps.items()})

    def load_target(self, label: str) -> TargetRecord | None:
        """What was last live in a target, None where nothing (readable) is known."""
        body = read_if_there(self.state_dir / "targets" / f"{_file_name(label)}.json")
        if body is None:
            return None
        try:
            content = codec.parse_document("target", body, where=label)
            return TargetRecord(str(content["set_sha256"]), int(content["applied_at"]), str(content["shape"]))
        except (StateDamagedError, KeyError, TypeError, ValueError):
            return None

    def save_target(self, label: str, record: TargetRecord) -> None:
        """Remember what is live in a target."""
        content = {
            "label": label,
            "set_sha256": record.sha256,
            "applied_at": record.applied_at,
            "shape": record.shape,
        }
        self._write(f"targets/{_file_name(label)}.json", "target", content)

    def forget_target(self, label: str) -> None:
        """Remove what is remembered of a target."""
        remove_atomically(self.state_dir / "targets" / f"{_file_name(label)}.json")

    def list_generations(self) -> list[Generation]:
        """All readable generations, oldest first."""
        found = []
        for path in sorted((self.state_dir / "generations").glob("*.json")):
            try:
                content = codec.parse_document("generation", path.read_bytes(), where=path.name)
                sets = {name: codec.decode_networks(cidrs) for name, cidrs in content["sources"].items()}
                found.append(Generation(int(content["number"]), int(content["created_at"]), sets))
            except (OSError, StateDamagedError, KeyError, TypeError, ValueError):
                continue
        return sorted(found, key=lambda generation: generation.number)

    def add_generation(self, sources: dict[str, NetworkSet], *, now: int, keep: int) -> int:
        """Remember what is wanted from now on, if it differs from the newest; its number."""
        known = self.list_generations()
        if known and known[-1].sources == sources:
            return known[-1].number
        number = known[-1].number + 1 if known else 1
        sets = {name: codec.encode_networks(networks) for name, networks in sources.items()}
        content = {"number": number, "created_at": now, "sources": sets}
        self._write(f"generations/{number:08d}.json", "generation", content)
        for old in known[: max(0, len(known) + 1 - keep)]:
            remove_atomically(self.state_dir / "generations" / f"{old.number:08d}.json")
        return number

    def load_note(self, name: str) -> dict[str, Any] | None:
        """A small note of a run to the next (a journal, a confirmation that is awaited), or None."""
        return _load_note(self.state_dir / "notes" / f"{_file_name(name)}.json")

    def save_note(self, name: str, content: dict[str, Any]) -> None:
        """Leave a note, synced to disk before this returns."""
        self._write(f"notes/{_file_name(name)}.json", "note", content)

    def remove_note(self, name: str) -> None:
        """Take a note back."""
        remove_atomically(self.state_dir / "notes" / f"{_file_name(name)}.json")

    def list_notes(self, prefix: str) -> list[dict[str, Any]]:
        """All notes whose name begins so."""
        paths = sorted((self.state_dir / "notes").glob(f"{_file_name(prefix)}*.json"))
        return [note for note in map(_load_note, paths) if note is not None]

    def _source_path(self, name: str) -> Path:
        return self.state_dir / "sources" / f"{name}.json"

    def _write(self, relative: str, kind: str, content: dict[str, Any]) -> None:
        path = self.state_dir / relative
        body = codec.render_document(kind, content)
        if read_if_there(path) != body:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, body, mode=0o600)


def _load_note(path: Path) -> dict[str, Any] | None:
    body = read_if_there(path)
    if body is None:
        return None
    try:
        return codec.parse_document("note", body, where=path.name)
    except StateDamagedError:
        return None


def _file_name(label: str) -> str:
    """A label (which may hold a path) as a file's name. Different labels never share one."""
    return re.sub(r"[^A-Za-z0-9_.-]", lambda match: f"%{ord(match[0]):02x}", label)[:200]
