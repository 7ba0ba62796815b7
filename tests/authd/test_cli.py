"""The command line: help for every command, exit codes, one clear sentence, JSON where a script would read it."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import jsonschema
import pytest
import yaml
from click.testing import CliRunner, Result

from authd import __version__
from authd.cli import main
from authd.state.sqlite import SqliteStore
from tests.authd.house import CONFIG


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from walk(inner, (*path, name))


COMMANDS = list(walk(main))


def run(*arguments: str | Path, **environment: str) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env=environment)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    secret = tmp_path / "secret"
    secret.write_text(base64.b64encode(bytes(32)).decode())
    secret.chmod(0o600)
    path = tmp_path / "authd.yml"
    path.write_text(CONFIG.replace("/nowhere", "secret"))
    return path


@pytest.fixture
def bad_config(config: Path) -> Path:
    config.write_text(config.read_text().replace("decision: allow", "decision: alow").replace("domains:", "domans:"))
    return config


def test_the_commands_are_those_of_the_design() -> None:
    known = {(), ("serve",), ("check-config",), ("config-schema",), ("explain",), ("version",), ("nginx", "render")}
    assert known <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    for option in ("--help", "-h"):
        result = run(*command, option)

        assert result.exit_code == 0
        assert result.output.startswith("Usage: ")
        sentence = result.output.split("\n\n")[1].strip()
        assert sentence.endswith(".")
        assert len(sentence) > 15


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_wrong_usage_is_exit_code_2(command: tuple[str, ...]) -> None:
    assert run(*command, "--no-such-option").exit_code == 2


@pytest.mark.parametrize("arguments", [["no-such-command"], ["nginx"], ["nginx", "render"], ["explain"]])
def test_a_command_without_what_it_needs_is_exit_code_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_a_command_reads_no_module_of_another() -> None:
    """All of them take a second, which a playbook would wait for ten times."""
    program = "import sys, authd.cli_tunnel; sys.exit(bool({'pydantic', 'redis', 'falcon'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_version_is_told(config: Path) -> None:
    assert run("version").output == run("--version").output == f"authd {__version__}\n"


def test_a_good_configuration_is_exit_code_0(config: Path) -> None:
    result = run("check-config", "--config", config)

    assert (result.exit_code, result.output.startswith(f"{config}: ok (")) == (0, True)
    document = json.loads(run("check-config", "--config", config, "--json").output)
    assert (document["ok"], document["applications"], document["identity_providers"]) == (True, 6, 2)
    assert run("check-config", AUTHD_CONFIG=str(config)).exit_code == 0


def test_every_mistake_of_a_bad_configuration_is_listed(bad_config: Path) -> None:
    result = run("check-config", "--config", bad_config)
    document = json.loads(run("check-config", "--config", bad_config, "--json").output)

    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert document["ok"] is False
    assert len(document["mistakes"]) > 5
    for mistake in document["mistakes"]:
        assert mistake["line"] > 0
        assert mistake["key"] in result.stderr
    assert any("domains" in mistake["message"] + mistake["allowed"] for mistake in document["mistakes"])


@pytest.mark.parametrize("command", [["check-config"], ["nginx", "render", "--out", "out"], ["serve"]])
def test_a_missing_file_is_one_sentence_and_exit_code_1(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "authd.cli", *command, "--config", str(tmp_path / "none.yml")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert str(tmp_path / "none.yml") in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_bad_secret_stops_serve_with_one_sentence(config: Path) -> None:
    (config.parent / "secret").chmod(0o644)
    state = config.read_text() + f"\nstate: sqlite:{config.parent}/authd.db\nlisten: unix:{config.parent}/authd.sock\n"
    config.write_text(state)
    done = subprocess.run(
        [sys.executable, "-m", "authd.cli", "serve", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )

    assert done.returncode == 1
    assert "chmod 0600" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_schema_accepts_a_good_configuration_and_no_unknown_key(config: Path) -> None:
    schema = json.loads(run("config-schema").output)
    document = yaml.safe_load(config.read_text())

    jsonschema.validate(document, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document | {"wrokers": 2}, schema)


def test_rendering_writes_the_files_once(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    first = json.loads(run("nginx", "render", "--config", config, "--out", out, "--json").output)
    second = json.loads(run("nginx", "render", "--config", config, "--out", out, "--json").output)

    assert first["changed"] == first["files"] == sorted(path.name for path in out.iterdir())
    assert {"authd-http.conf", "authd-server.conf", "authd-protect.conf", "authd-team.conf"} <= set(first["files"])
    assert second["changed"] == []


@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        (["--url", "https://grafana.example.com/"], "login"),
        (["--url", "https://grafana.example.com/", "--email", "alice@example.com"], "allow"),
        (["--url", "https://grafana.example.com/", "--email", "mallory@example.net"], "deny"),
        (["--url", "https://public.example.com/x"], "bypass"),
        (["--url", "https://other.example.com/"], "deny"),
    ],
)
def test_explain_says_what_would_become_of_a_request(config: Path, arguments: list[str], outcome: str) -> None:
    result = run("explain", "--config", config, *arguments, "--json")

    assert result.exit_code == 0
    assert f'"outcome": "{outcome}"' in result.output
    assert outcome in run("explain", "--config", config, *arguments).output.lower()


@pytest.mark.parametrize("arguments", [["--url", "nonsense"], ["--url", "https://a.example/", "--ip", "x"]])
def test_explain_refuses_what_it_cannot_read(config: Path, arguments: list[str]) -> None:
    result = run("explain", "--config", config, *arguments)

    assert result.exit_code in (1, 2)
    assert "Traceback" not in result.output


ORIGIN = """
token_issuers: [{id: github, issuer: "https://token.example.com", audiences: [deploy]}]
applications:
  - id: deploy
    domains: [deploy.example.com]
    policies:
      - name: Main
        decision: non_identity
        include: [{token_claim: {claim_name: ref, claim_value: main, token_issuer_id: github}}]
  - id: app
    domains: [app.example.net]
    issuer: https://myteam.cloudflareaccess.com
    aud: "AUD"
    policies:
      - {name: Team, decision: allow, include: [{login_method: "https://myteam.cloudflareaccess.com"}]}
"""


@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        (["deploy.example.com", "--token-issuer", "github", "--claim", "ref=main"], "policy_allow"),
        (["deploy.example.com", "--token-issuer", "github", "--claim", "ref=x", "--claim", "ref=main"], "policy_allow"),
        (["deploy.example.com", "--token-issuer", "github", "--claim", "ref=other"], "no_policy_matched"),
        (["app.example.net", "--email", "alice@example.com"], "policy_allow"),
        (["app.example.net", "--token-issuer", "https://myteam.cloudflareaccess.com"], "no_policy_matched"),
    ],
)
def test_explain_knows_machines_and_applications_that_only_verify(
    tmp_path: Path, arguments: list[str], outcome: str
) -> None:
    config = tmp_path / "authd.yml"
    config.write_text("team_domain: auth.example.com\n" + ORIGIN.replace("AUD", "a" * 64))
    host, *options = arguments
    result = run("explain", "--config", config, "--url", f"https://{host}/", *options, "--json")
    assert json.loads(result.output)["reason"] == outcome


@pytest.mark.parametrize("options", [["--token-issuer", "gitlab"], ["--token-issuer", "github", "--claim", "ref"]])
def test_explain_refuses_a_machine_that_cannot_be(tmp_path: Path, options: list[str]) -> None:
    config = tmp_path / "authd.yml"
    config.write_text("team_domain: auth.example.com\n" + ORIGIN.replace("AUD", "a" * 64))
    result = run("explain", "--config", config, "--url", "https://deploy.example.com/", *options)
    assert result.exit_code == 1
    assert options[-2] in result.output


def test_an_origin_that_only_verifies_has_no_keys_of_its_own(tmp_path: Path) -> None:
    config = tmp_path / "authd.yml"
    application = "{id: a, domains: [a.x], issuer: 'https://t.example.com', aud: '" + "a" * 64 + "'}"
    config.write_text(f"state: sqlite:{tmp_path}/authd.db\nsecret_file: secret\napplications: [{application}]\n")
    assert run("check-config", "--config", config).exit_code == 0
    asyncio.run(SqliteStore(tmp_path / "authd.db").close())
    (tmp_path / "secret").write_text(base64.b64encode(bytes(32)).decode())
    (tmp_path / "secret").chmod(0o600)
    result = run("keys", "list", "--config", config)
    assert result.exit_code == 1
    assert "no keys of its own" in result.output
