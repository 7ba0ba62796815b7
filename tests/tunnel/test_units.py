"""The units that are rendered: systemd's own opinion of them, and sshd's and nginx' of their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from authd.tunnel.origins import Origin
from authd.tunnel.render import Edge, EdgeSettings, render_edge, render_origin_files
from tests.ipranges.namespaces import require_programs, run

MOST_EXPOSURE = 29
ORIGIN = Origin("app1", "app", "ssh", "")
SERVICES = ("authd-tunnel-edge@.service", "authd-tunnel-watch.service", "authd-tunnel@.service")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with programs that exist, as `verify` wants."""
    require_programs("systemd-analyze")
    settings = EdgeSettings(Path("/etc/authd-tunnel"), Path("/run/authd-tunnel"), program="/bin/true")
    edge = Edge("edge1", "192.0.2.1", 7844, "")
    files = render_edge((), settings) | render_origin_files(
        ORIGIN, (edge,), to="127.0.0.1:8080", directory=Path("/etc/authd-tunnel")
    )
    for name, text in files.items():
        if name.endswith((".service", ".socket")):
            (tmp_path / name).write_text(text)
    return tmp_path


def test_systemd_finds_nothing_wrong(units: Path) -> None:
    files = sorted(str(path) for path in units.iterdir())
    assert len(files) == 4
    verdict = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=one", *files, check=False)
    # The name of the origin's user is looked up nowhere by verify; nothing else may be said.
    assert (verdict.returncode, verdict.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_the_services_are_hardened(name: str, units: Path) -> None:
    threshold = f"--threshold={MOST_EXPOSURE}"
    verdict = run("systemd-analyze", "security", "--offline=true", threshold, str(units / name), check=False)
    assert verdict.returncode == 0, verdict.stdout[-3000:]


def test_the_origin_s_unit_comes_back_within_two_seconds_and_never_gives_up(units: Path) -> None:
    text = (units / "authd-tunnel@.service").read_text()
    for line in ("Restart=always", "RestartSec=2", "StartLimitIntervalSec=0", "CapabilityBoundingSet="):
        assert line in text.splitlines()
    assert "TriggerLimitIntervalSec=0" in (units / "authd-tunnel-edge.socket").read_text().splitlines()
