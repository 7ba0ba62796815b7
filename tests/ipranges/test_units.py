"""The units and the cron file that ship: systemd's own opinion of them, and what they must say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ipranges
from ipranges.targets.nftables import parse_table
from tests.ipranges.namespaces import list_table, require_programs, run
from tests.ipranges.world import CLOUDFLARE, World

UNITS = Path(ipranges.__file__).parent / "systemd"
MOST_EXPOSURE = 30


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with a program that exists, as `verify` wants."""
    require_programs("systemd-analyze")
    for unit in UNITS.glob("ipranges*.*"):
        if unit.suffix in (".service", ".timer"):
            (tmp_path / unit.name).write_text(unit.read_text().replace("/usr/local/bin/ipranges", "/bin/true"))
    return tmp_path


def test_systemd_finds_nothing_wrong(units: Path) -> None:
    files = sorted(str(path) for path in units.iterdir())
    assert len(files) == 3
    verdict = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=one", *files, check=False)
    assert (verdict.returncode, verdict.stderr) == (0, "")


@pytest.mark.parametrize("name", ["ipranges.service", "ipranges-restore.service"])
def test_the_services_are_hardened(name: str, units: Path) -> None:
    threshold = f"--threshold={MOST_EXPOSURE}"
    verdict = run("systemd-analyze", "security", "--offline=true", threshold, str(units / name), check=False)
    assert verdict.returncode == 0, verdict.stdout[-400:]


def test_the_timer_runs_four_times_a_day_at_a_minute_of_its_own() -> None:
    require_programs("systemd-analyze")
    text = (UNITS / "ipranges.timer").read_text()
    when = re.search(r"OnCalendar=(.*)", text)
    assert when
    elapses = run("systemd-analyze", "calendar", "--iterations=5", when[1]).stdout
    assert re.findall(r"(\d\d):00:00 UTC", elapses)[:5]
    assert len(set(re.findall(r" (\d\d):00:00", elapses))) == 4
    assert "RandomizedDelaySec" in text
    assert "FixedRandomDelay=yes" in text
    assert "Persistent=yes" in text


def test_the_firewall_is_restored_before_the_network_and_after_what_flushes_it() -> None:
    text = (UNITS / "ipranges-restore.service").read_text()
    assert re.search(r"^Before=.*network-pre\.target", text, re.MULTILINE)
    assert re.search(r"^After=.*nftables\.service ufw\.service", text, re.MULTILINE)
    assert "DefaultDependencies=no" in text
    assert "IPAddressDeny=any" in text


def test_the_cron_file_is_one_that_cron_takes() -> None:
    text = (UNITS / "ipranges.cron").read_text()
    assert text.endswith("\n")
    entries = [line for line in text.splitlines() if re.match(r"[\d*@]", line)]
    assert [entry.split()[0] for entry in entries] == ["17", "@reboot"]
    assert all("[ -d /run/systemd/system ] ||" in entry for entry in entries)
    assert "--quiet" in entries[0]
    assert re.search(r"^PATH=.*/usr/sbin", text, re.MULTILINE)


def test_where_systemd_does_not_run_the_cron_line_runs_the_program(tmp_path: Path) -> None:
    line = next(line for line in (UNITS / "ipranges.cron").read_text().splitlines() if line.startswith("17"))
    command = line.split("root ", 1)[1].replace("/run/systemd/system", str(tmp_path / "absent"))
    program = tmp_path / "ipranges"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n')
    program.chmod(0o755)
    run("env", f"PATH={tmp_path}:{os.environ['PATH']}", "sh", "-c", command)
    assert (tmp_path / "called").read_text() == "sync --quiet --config /etc/ipranges/ipranges.yml\n"
    (tmp_path / "called").unlink()
    run("env", f"PATH={tmp_path}:{os.environ['PATH']}", "sh", "-c", command.replace(str(tmp_path / "absent"), "/"))
    assert not (tmp_path / "called").exists()


def test_the_capabilities_of_the_service_are_enough(isolated_world: World) -> None:
    """A run under the unit's own bounding set and no_new_privs: the firewall, and nginx reading a candidate."""
    require_programs("setpriv", "nginx")
    text = (UNITS / "ipranges.service").read_text()
    allowed = re.search(r"^CapabilityBoundingSet=(.*)$", text, re.MULTILINE)
    assert allowed
    names = [name.removeprefix("CAP_").lower() for name in allowed[1].split()]
    assert sorted(names) == ["chown", "dac_override", "fowner", "net_admin", "net_bind_service"]
    isolated_world.targets = [
        {"type": "nftables", "ports": [443], "sources": ["cloudflare"], "name": "firewall"},
        {"type": "nginx-geo", "path": str(isolated_world.directory / "edge.conf"), "sources": ["cloudflare"]}
        | {"test": [], "reload": []},
    ]
    bounding = ",".join(["-all", *(f"+{name}" for name in names)])
    command = [sys.executable, "-c", "from ipranges.cli import main; main()", "sync", "--config"]
    done = subprocess.run(
        ["setpriv", "--no-new-privs", f"--bounding-set={bounding}", *command, str(isolated_world.write_config())],
        env={**os.environ, "PYTHONPATH": str(UNITS.parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert parse_table(list_table())[0] == CLOUDFLARE
    assert "104.16.0.0/13 1;" in (isolated_world.directory / "edge.conf").read_text()
