"""How long a login and a token would hold, and which setting says so: the precedence of the checks, in `explain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click.testing
import pytest

from authd.cli import main

EVERYONE = {"include": [{"everyone": True}], "decision": "allow"}


def explain(tmp_path: Path, *, policy: Any = None, application: Any = None, arguments: Any = (), **top: Any) -> Any:
    own = {"session_duration": application} if application else {}
    policies = [
        {"name": "Contractors", "session_duration": "5m", "decision": "allow", "include": [{"email": "c@example.com"}]},
        {"name": "Everyone", **EVERYONE, **({"session_duration": policy} if policy else {})},
        {"name": "Probes", "decision": "bypass", "include": [{"ip": "198.51.100.7"}]},
    ]
    config = {
        "team_domain": "auth.example.com",
        "identity_providers": [{"id": "corp", "type": "oidc", "issuer": "https://idp.example.com", "client_id": "x"}],
        "applications": [
            {"id": "other", "domains": ["other.example.com"], "policies": [{"name": "P", **EVERYONE}]},
            {"id": "app", "domains": ["app.example.com"], "policies": policies, **own},
        ],
        **top,
    }
    (tmp_path / "authd.yml").write_text(json.dumps(config))
    person = () if "--ip" in arguments else ("--email", "a@example.com")
    command = ["explain", "--config", str(tmp_path / "authd.yml"), "--url", "https://app.example.com/", *person]
    plain = click.testing.CliRunner().invoke(main, [*command, *arguments])
    result = click.testing.CliRunner().invoke(main, [*command, *arguments, "--json"])
    assert (plain.exit_code, result.exit_code) == (0, 0), plain.output
    return {each["what"]: each | {"text": plain.output} for each in json.loads(result.output)["durations"]}


APP, POLICY = "applications[1].session_duration", "applications[1].policies[1].session_duration"


@pytest.mark.parametrize(
    ("policy", "application", "top", "winner", "others"),
    [
        (None, None, {}, (86400, "session_duration", True), []),
        (None, None, {"session_duration": "12h"}, (43200, "session_duration", False), []),
        (None, "8h", {}, (28800, APP, False), ["session_duration"]),
        ("30m", None, {}, (1800, POLICY, False), ["session_duration"]),
        # The policy's holds where it is longer, too.
        ("48h", "8h", {"session_duration": "12h"}, (172800, POLICY, False), [APP, "session_duration"]),
    ],
)
def test_the_setting_that_wins_is_named_with_those_behind_it(
    tmp_path: Path, policy: Any, application: Any, top: Any, winner: Any, others: list[str]
) -> None:
    token = explain(tmp_path, policy=policy, application=application, **top)["token"]

    assert (token["seconds"], token["setting"], token["is_default"]) == winner
    assert [each["setting"] for each in token["instead_of"]] == others


def test_it_is_what_the_index_goes_by(tmp_path: Path) -> None:
    """The check reads another structure; both must come to the same."""
    from authd.config import load_config
    from authd.policy.index import build_index

    for policy in (None, "30m"):
        for application in (None, "8h"):
            token = explain(tmp_path, policy=policy, application=application)["token"]
            built = build_index(load_config(tmp_path / "authd.yml")).find_by_id("app")
            assert built is not None
            (everyone,) = [each for each in built.policies if each.name == "Everyone"]
            assert token["seconds"] == everyone.session_duration_seconds


def test_login_idle_and_refresh_are_told(tmp_path: Path) -> None:
    found = explain(tmp_path)
    assert (found["login"]["seconds"], found["login"]["setting"]) == (86400, "session_duration")
    assert (found["idle"]["seconds"], found["idle"]["setting"]) == (None, None)
    assert (found["identity"]["seconds"], found["identity"]["setting"]) == (3600, "identity_refresh")
    assert "without being used: for ever\n" in found["idle"]["text"]

    provider = {"id": "corp", "type": "oidc", "issuer": "https://idp.example.com", "client_id": "x"}
    found = explain(tmp_path, idle_timeout="30m", identity_providers=[provider | {"identity_refresh": "0s"}])
    assert (found["idle"]["seconds"], found["idle"]["setting"]) == (1800, "idle_timeout")
    own = "identity_providers[0].identity_refresh"
    assert (found["identity"]["seconds"], found["identity"]["setting"]) == (0, own)
    assert f"asked again: never ({own}; not 1h of identity_refresh)" in found["identity"]["text"]


@pytest.mark.parametrize(
    "arguments", [["--ip", "198.51.100.7"], ["--ip", "192.0.2.1"], ["--service-token", "x.access"]]
)
def test_nothing_holds_for_a_bypass_for_somebody_unknown_or_for_a_machine(tmp_path: Path, arguments: Any) -> None:
    assert explain(tmp_path, arguments=arguments) == {}
