"""Cases 24 and 25 of the promise list: two runs, a wrong clock, damaged state, the first run without network."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ipranges.errors import ExitCode, LockBusyError, NotAllowedError
from ipranges.metrics import render_metrics
from ipranges.model import SourceOutcome, TargetOutcome
from ipranges.operate import approve, roll_back
from ipranges.sources.snapshots import CLOUDFLARE as BUNDLED
from ipranges.staleness import find_age_seconds
from ipranges.state import hold_lock
from tests.ipranges.world import API, CLOUDFLARE, DAY, HOUR, World, api_body, message_of, outcome_of

HOLDER = """
import sys, time
from pathlib import Path
from ipranges.state import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(30)
"""


def test_case_24_a_second_run_ends_at_once(world: World) -> None:
    root = str(Path(__file__).parents[2])
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(world.directory)], stdout=subprocess.PIPE, env={"PYTHONPATH": root}
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockBusyError) as busy, hold_lock(world.directory):
            pass
        assert busy.value.exit_code == 75
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with hold_lock(world.directory):
        pass  # a killed run leaves no lock behind


def test_case_24_a_clock_that_jumped_back_a_year_shows_nothing_as_fresh(world: World) -> None:
    world.sync()
    world.age(-365 * DAY)
    stamps = world.store.load_stamps()["cloudflare"]
    assert find_age_seconds(stamps, now=int(world.now)) is None
    world.server.serve(API, b"", status=503)
    assert world.sync().exit_code == ExitCode.STALE
    world.server.serve_sample(API, "cloudflare-api.json")
    assert world.sync().exit_code == ExitCode.OK
    assert find_age_seconds(world.store.load_stamps()["cloudflare"], now=int(world.now)) == 0


def test_a_source_that_is_down_is_kept_and_told_and_after_two_weeks_is_stale(world: World) -> None:
    world.sync()
    world.server.serve(API, b"", status=503)
    world.age(14 * DAY)
    assert world.sync().exit_code == ExitCode.SOURCE_FAILED
    world.age(HOUR)
    assert world.sync().exit_code == ExitCode.STALE
    assert world.listed() == CLOUDFLARE


def damage(world: World, body: bytes) -> None:
    (world.directory / "state" / "sources" / "cloudflare.json").write_bytes(body)


def newer(world: World) -> bytes:
    body = (world.directory / "state" / "sources" / "cloudflare.json").read_bytes()
    return body.replace(b'"schema": 1', b'"schema": 2')


@pytest.mark.parametrize("body", [b"", b"\0" * 200, b"{}", b'{"schema":1,"content":{}}', b"[1,2]"])
def test_case_24_damaged_state_is_rebuilt_from_the_last_generation(body: bytes, world: World) -> None:
    world.sync()
    damage(world, body)
    world.server.serve(API, b"", status=503)
    report = world.sync()
    assert report.exit_code == ExitCode.SOURCE_FAILED
    assert "rebuilt from generation 1" in message_of(report, "cloudflare")
    assert world.listed() == CLOUDFLARE
    assert world.memory().installed == CLOUDFLARE


def test_case_24_rebuilt_state_still_guards(world: World) -> None:
    world.sync()
    damage(world, b"nonsense")
    world.server.serve(API, api_body(["9.9.9.0/24"], ["2400:cb00::/32"]))
    assert world.sync().exit_code == ExitCode.HELD
    assert world.listed() == CLOUDFLARE


def test_case_24_where_nothing_is_left_the_live_list_stays_until_a_person_says(world: World) -> None:
    world.sync()
    damage(world, b"nonsense")
    for path in (world.directory / "state" / "generations").iterdir():
        path.write_bytes(b"nonsense")
    before = world.list_path.read_bytes()
    world.server.serve(API, api_body(["9.9.9.0/24"], ["2400:cb00::/32"]))
    report = world.sync()
    assert (report.exit_code, outcome_of(report, "cloudflare")) == (ExitCode.HELD, SourceOutcome.DAMAGED)
    assert outcome_of(report, "list") is TargetOutcome.SKIPPED
    assert world.list_path.read_bytes() == before
    with pytest.raises(NotAllowedError, match="publishes now is"):
        approve(world.config, "cloudflare", "0" * 64, world.runtime)
    world.server.serve_sample(API, "cloudflare-api.json")
    assert approve(world.config, "cloudflare", CLOUDFLARE.sha256, world.runtime).exit_code == ExitCode.OK
    assert world.listed() == CLOUDFLARE


def test_case_24_state_of_a_newer_version_is_neither_used_nor_overwritten(world: World) -> None:
    world.sync()
    damage(world, newer(world))
    kept, before = newer(world), world.list_path.read_bytes()
    world.server.serve(API, api_body(["9.9.9.0/24"], ["2400:cb00::/32"]))
    report = world.sync()
    assert report.exit_code == ExitCode.HELD
    assert "has schema 2" in message_of(report, "cloudflare")
    assert newer(world) == kept
    assert world.list_path.read_bytes() == before
    with pytest.raises(NotAllowedError, match="install that version"):
        approve(world.config, "cloudflare", CLOUDFLARE.sha256, world.runtime)


def test_case_25_the_first_run_without_network_writes_no_list(world: World) -> None:
    world.server.serve(API, b"", status=503)
    report = world.sync()
    assert (report.exit_code, outcome_of(report, "cloudflare")) == (ExitCode.STALE, SourceOutcome.NO_LIST)
    assert not world.list_path.exists()
    assert not (world.directory / "state" / "sources").exists()


def test_case_25_with_a_seed_the_dated_copy_is_installed_and_marked(world: World) -> None:
    world.use_cloudflare(seed="bundled")
    world.server.serve(API, b"", status=503)
    world.now = 1_787_184_000.0  # 20 August 2026
    report = world.sync()
    assert (report.exit_code, outcome_of(report, "cloudflare")) == (ExitCode.SOURCE_FAILED, SourceOutcome.SEEDED)
    assert world.listed() == CLOUDFLARE
    assert set(BUNDLED) == set(CLOUDFLARE.all_cidrs)
    metrics = render_metrics(world.config, report, world.store).decode()
    assert 'ipranges_source_seeded{source="cloudflare"} 1.0' in metrics
    assert "2026-08-19" in message_of(report, "cloudflare")
    world.server.serve_sample(API, "cloudflare-api.json")
    assert world.sync().exit_code == ExitCode.OK
    assert not world.memory().seeded


def test_a_rollback_holds_what_was_left_behind(world: World) -> None:
    world.sync()
    wider = [*CLOUDFLARE.cidrs("v4"), "96.0.0.0/14"]
    world.server.serve(API, api_body(wider, list(CLOUDFLARE.cidrs("v6"))))
    world.age(HOUR)
    world.sync()
    assert world.listed() != CLOUDFLARE
    assert roll_back(world.config, 1, world.runtime).exit_code == ExitCode.OK
    assert world.listed() == CLOUDFLARE
    report = world.sync()
    assert report.exit_code == ExitCode.HELD
    assert "rolled back" in message_of(report, "cloudflare")
    assert world.listed() == CLOUDFLARE
    with pytest.raises(NotAllowedError, match="there is no generation 9"):
        roll_back(world.config, 9, world.runtime)


def test_generations_are_few_and_the_oldest_go(world: World) -> None:
    world.settings["keep_generations"] = 3
    world.sources = [{"name": "own", "type": "static", "cidrs": ["10.0.0.0/24"]}]
    world.use_text_target()
    for number in range(6):
        world.sources[0]["cidrs"] = [f"10.{number}.0.0/24"]
        world.sync()
    assert [generation.number for generation in world.store.list_generations()] == [4, 5, 6]


def test_what_is_remembered_reads_back_as_it_was(world: World) -> None:
    world.sync()
    world.server.serve(API, api_body(["9.9.9.0/24"], ["2400:cb00::/32"]))
    world.sync()
    memory = world.memory()
    assert memory.candidate is not None
    world.store.save_memory(replace(memory, seeded=True, refused_sha256=("a" * 64,)))
    assert world.memory() == replace(memory, seeded=True, refused_sha256=("a" * 64,))


def test_state_is_for_root_alone_and_lists_are_for_everybody(world: World) -> None:
    world.sync()
    private = world.directory / "state" / "sources" / "cloudflare.json"
    assert private.stat().st_mode & 0o777 == 0o600
    assert world.list_path.stat().st_mode & 0o777 == 0o644
    assert json.loads(private.read_text())["content"]["name"] == "cloudflare"
