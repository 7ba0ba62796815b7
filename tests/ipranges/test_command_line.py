"""The command line as a person, cron and a monitoring system meet it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ipranges.cli import cli
from tests.ipranges.world import API, CLOUDFLARE, World, api_body

MAIN = "from ipranges.cli import main; main()"


def ipranges(world: World, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("JOURNAL_STREAM", "SSH_CONNECTION")}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2]), **more}
    command = [sys.executable, "-c", MAIN, *arguments, "--config", str(world.write_config())]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_every_command_of_the_documentation_is_there() -> None:
    documented = {"sync", "diff", "check", "status", "why", "approve", "rollback", "uninstall", "enforce", "confirm"}
    assert documented | {"restore", "history", "sources"} == set(cli.commands)


def test_a_person_s_first_day(world: World) -> None:
    """diff, sync, sync again, status, why, check: each says what happened in words and in its exit code."""
    wanted = ipranges(world, "diff")
    assert wanted.returncode == 10
    assert "list: not installed yet" in wanted.stdout
    assert "+ 104.16.0.0/13" in wanted.stdout
    assert "22 added: IPv4 1,524,736 addresses, none before" in wanted.stdout
    assert not world.list_path.exists()
    assert not (world.directory / "state" / "sources").exists()
    first = ipranges(world, "sync")
    assert (first.returncode, first.stderr) == (0, "")
    assert "list: changed, 22 added" in first.stdout
    assert ipranges(world, "sync", "--dry-run").returncode == 0
    status = ipranges(world, "status")
    assert status.stdout.splitlines()[0].split() == [
        "SOURCE",
        "PREFIXES",
        "IPV4",
        "ADDRESSES",
        "AGE",
        "CHANGED",
        "STATE",
    ]
    assert "15 + 7" in status.stdout
    assert "1,524,736" in status.stdout
    assert "layer one of two" in status.stdout
    why = ipranges(world, "why", "104.16.1.1")
    assert "104.16.0.0/13 is published by cloudflare" in why.stdout
    assert "list: allowed" in why.stdout
    assert "no source and no always_allow names it" in ipranges(world, "why", "8.8.8.8").stdout
    check = ipranges(world, "check")
    assert check.returncode == 0
    assert check.stdout.startswith("IPRANGES OK - all lists in force | 'cloudflare_age'=")


def test_cron_hears_nothing_unless_somebody_has_to_look(world: World) -> None:
    assert ipranges(world, "sync", "--quiet").stdout == ""
    quiet = ipranges(world, "sync", "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    world.server.serve(API, b"", status=503)
    loud = ipranges(world, "sync", "--quiet")
    assert (loud.returncode, loud.stdout) == (4, "")
    assert loud.stderr.count("\n") == 1
    assert "ipranges: cloudflare: " in loud.stderr
    assert "status 503" in loud.stderr


def test_under_systemd_a_line_has_its_priority(world: World) -> None:
    world.server.serve(API, b"", status=503)
    told = ipranges(world, "sync", "--quiet", JOURNAL_STREAM="8:1")
    assert told.stderr.startswith("<3>ipranges: ")
    world.server.serve_sample(API, "cloudflare-api.json")
    changed = ipranges(world, "sync", "--quiet", JOURNAL_STREAM="8:1").stderr
    record = json.loads(changed.removeprefix("<5>"))
    assert (record["event"], record["target"], len(record["added"])) == ("ipranges.change", "list", 22)


def test_holding_and_approving_by_hand(world: World) -> None:
    ipranges(world, "sync")
    world.server.serve(API, api_body(["9.9.9.0/24"], list(CLOUDFLARE.cidrs("v6"))))
    held = ipranges(world, "sync")
    assert held.returncode == 3
    sha256 = held.stderr.split("ipranges approve cloudflare ")[1][:16]
    diff = json.loads(ipranges(world, "diff", "--json").stdout)
    assert diff["held"]["cloudflare"]["sha256"].startswith(sha256)
    assert diff["held"]["cloudflare"]["retained_share"]["v4"] == 0.0
    assert "- 104.16.0.0/13" in ipranges(world, "diff").stdout
    check = ipranges(world, "check")
    assert (check.returncode, "held" in check.stdout) == (1, True)
    wrong = ipranges(world, "approve", "cloudflare", "0" * 16)
    assert (wrong.returncode, "the edition that is held is" in wrong.stderr) == (3, True)
    assert ipranges(world, "approve", "cloudflare", sha256).returncode == 0
    assert world.listed().contains("v4", 0x09090901)
    history = json.loads(ipranges(world, "history", "--json").stdout)
    assert [entry["generation"] for entry in history] == [1, 2]
    assert ipranges(world, "rollback", "1").returncode == 0
    assert world.listed() == CLOUDFLARE


def test_json_for_scripts(world: World) -> None:
    run = json.loads(ipranges(world, "sync", "--json").stdout)
    assert run["exit_code"] == 0
    assert run["targets"]["list"]["outcome"] == "changed"
    status = json.loads(ipranges(world, "status", "--json").stdout)
    assert status["sources"]["cloudflare"]["prefixes"] == {"v4": 15, "v6": 7}
    assert status["targets"]["list"]["state"] == "in_sync"
    assert json.loads(ipranges(world, "why", "104.16.1.1", "--json").stdout)["targets"] == {"list": True}


def test_the_built_in_sources_are_listed_without_a_configuration() -> None:
    listed = CliRunner().invoke(cli, ["sources", "--json"])
    providers = {entry["name"]: entry for entry in json.loads(listed.output)}
    assert len(providers) == 9
    assert providers["cloudflare"]["endpoint"] == "https://api.cloudflare.com/client/v4/ips"
    assert "15 IPv4" in providers["cloudflare"]["expected"]


def test_a_broken_configuration_is_told_whole_and_changes_nothing(world: World) -> None:
    world.settings["always_alow"] = []
    world.sources[0]["retries"] = -1
    told = ipranges(world, "sync")
    assert told.returncode == 2
    assert "2 mistakes, nothing was changed" in told.stderr
    assert "did you mean always_allow?" in told.stderr
    assert "Traceback" not in told.stderr
    assert ipranges(world, "check").returncode == 3


def test_wrong_usage_is_exit_2_and_a_wrong_address_one_sentence(world: World) -> None:
    assert ipranges(world, "sinc").returncode == 2
    told = ipranges(world, "why", "104.16.0.0/13")
    assert told.returncode == 2
    assert "is a network, not one address" in told.stderr


def test_a_change_is_handed_to_the_operator_s_command(world: World) -> None:
    world.settings["on_change"] = ["sh", "-c", f"cat > {world.directory}/changes"]
    ipranges(world, "sync")
    (change,) = json.loads((world.directory / "changes").read_text())
    assert change["target"] == "list"
    (world.directory / "changes").unlink()
    ipranges(world, "sync")
    assert not (world.directory / "changes").exists()


def test_metrics_are_one_file_in_prometheus_form(world: World) -> None:
    world.settings["metrics"] = str(world.directory / "ipranges.prom")
    ipranges(world, "sync")
    world.server.serve(API, api_body(["9.9.9.0/24"], list(CLOUDFLARE.cidrs("v6"))))
    ipranges(world, "sync")
    text = (world.directory / "ipranges.prom").read_text()
    for line in (
        'ipranges_source_prefixes{family="v4",source="cloudflare"} 15.0',
        'ipranges_source_addresses{family="v4",source="cloudflare"} 1.524736e+06',
        'ipranges_source_held{reason="shrunk",source="cloudflare"} 1.0',
        'ipranges_fetch_failures_total{source="cloudflare"} 0.0',
        'ipranges_target_in_sync{target="list"} 1.0',
        "ipranges_run_exit_code 3.0",
    ):
        assert f"{line}\n" in text
    assert "_created" not in text
    assert text.endswith("\n")


def test_a_refused_list_is_an_exit_code_a_line_and_a_metric(world: World) -> None:
    world.settings["metrics"] = str(world.directory / "ipranges.prom")
    ipranges(world, "sync")
    world.server.serve(API, api_body([*CLOUDFLARE.cidrs("v4"), "0.0.0.0/0"], list(CLOUDFLARE.cidrs("v6"))))
    refused = ipranges(world, "sync", "--quiet")
    assert refused.returncode == 4
    assert (refused.stderr.count("\n"), "'0.0.0.0/0'" in refused.stderr) == (1, True)
    text = (world.directory / "ipranges.prom").read_text()
    assert 'ipranges_fetch_failures_total{source="cloudflare"} 1.0' in text
    assert "ipranges_run_exit_code 4.0" in text
    assert world.listed() == CLOUDFLARE


def test_metrics_that_cannot_be_written_do_not_hide_the_run(world: World) -> None:
    world.settings["metrics"] = "/nonexistent/ipranges.prom"
    told = ipranges(world, "sync")
    assert told.returncode == 0
    assert "metrics: /nonexistent/ipranges.prom could not be written" in told.stderr
    assert world.listed() == CLOUDFLARE


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_need_no_configuration(option: str) -> None:
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", MAIN, option], env={"PYTHONPATH": root}, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0
    assert "ipranges" in done.stdout
