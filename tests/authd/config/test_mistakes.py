"""What the operator is told: every mistake at once, each with its line, none with a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authd.config import load_config, parse_config
from authd.errors import ConfigError
from tests.authd.config.samples import SAMPLE, find_mistakes, parse

BROKEN = """\
team_domain: auth.example.com
sesion_duration: 24h
identity_providers:
  - id: corp
    type: oidc
    issuer: http://idp.example.com
    client_id: 12345
groups:
  - name: engineers
    include: [{emial: alice@example.com}, {group: admins}]
  - name: loop
    include:
      - group: loop
applications:
  - id: grafana
    domains: [grafana.example.com]
    domains: [other.example.com]
    policies:
      - name: Engineers
        decision: permit
        include:
          - group: enginers
          - email_domain: example.com
        require: [{email_list: staff}]
  - id: grafana
    domains:
      - grafana.example.com
      - "**.example.com"
    allowed_idps: [crop]
    policies:
      - name: Nobody
        decision: bypass
        include: [{email: alice@example.com}]
"""


def test_every_mistake_is_told_at_once_in_the_order_of_the_file() -> None:
    """Misspelt keys do not hide unknown names, cycles or duplicates that are found after them."""
    assert [(mistake.line, mistake.key) for mistake in find_mistakes(BROKEN)] == [
        (2, "sesion_duration"),
        (6, "identity_providers[0].issuer"),
        (7, "identity_providers[0].client_id"),
        (10, "groups[0].include[0].emial"),
        (10, "groups[0].include[1].group"),
        (11, "groups[1]"),
        (17, "applications[0].domains"),
        (20, "applications[0].policies[0].decision"),
        (22, "applications[0].policies[0].include[0].group"),
        (24, "applications[0].policies[0].require[0].email_list"),
        (25, "applications[1].id"),
        (27, "applications[1].domains[0]"),
        (28, "applications[1].domains[1]"),
        (29, "applications[1].allowed_idps[0]"),
        (33, "applications[1].policies[0].include[0].email"),
    ]


def test_a_mistake_reads_like_this() -> None:
    told = [str(mistake) for mistake in find_mistakes(BROKEN)]
    assert told[3] == (
        "line 10: groups[0].include[0].emial: unknown selector (got emial); allowed: email, email_domain, "
        "email_list, everyone, ip, ip_list, geo, group, login_method, auth_method, oidc, github-organization, "
        "external_evaluation, "
        "token_issuer, token_claim, service_token, any_valid_service_token, certificate, common_name, "
        "did you mean email?"
    )
    assert told[8] == (
        "line 22: applications[0].policies[0].include[0].group: unknown group (got enginers); "
        "allowed: engineers, loop, did you mean engineers?"
    )
    assert told[5] == "line 11: groups[1]: uses itself (got loop -> loop); allowed: groups without a cycle"


def test_the_error_names_its_file_and_counts() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(BROKEN, source="/etc/authd/authd.yml", base_dir=Path("/etc/authd"))
    assert str(caught.value).startswith("/etc/authd/authd.yml: 15 mistake(s)\n  line 2: sesion_duration: ")
    assert caught.value.code == "config_invalid"


SECRETS = """\
team_domain: auth.example.com
client_secret: HUNTER-TOP
api_token: {a: HUNTER-MAPPING}
state: redis://:HUNTER-REDIS@redis.example.com/zero
secret_file: [HUNTER-LIST]
listen_secret_file: 17
identity_providers:
  - id: corp
    type: oidc
    issuer: https://user:HUNTER-ISSUER@idp.example.com
    client_id: authd
    client_secret: HUNTER-INLINE
    clientSecret: HUNTER-CAMEL
    client_secret_file: {file: HUNTER-FILE}
    client_secret_env: "HUNTER ENV"
    client_secret_env: HUNTER-TWICE
    password: [HUNTER-PASSWORD]
"""


def test_no_secret_is_ever_shown() -> None:
    told = "\n".join(str(mistake) for mistake in find_mistakes(SECRETS))
    assert "HUNTER" not in told
    for key in ("client_secret:", "api_token:", "clientSecret:", "client_secret_env:", "password:", "issuer:"):
        assert key in told


def test_the_value_of_an_unknown_key_is_not_shown_whatever_the_key() -> None:
    (mistake,) = find_mistakes("team_domain: auth.example.com\nteam_domian: HUNTER\n")
    assert mistake.value == "team_domian"
    assert "did you mean team_domain?" in mistake.allowed


def test_a_value_cannot_write_lines_of_its_own_into_a_log() -> None:
    text = 'team_domain: "auth.example.com\\nline 1: all is well\\u001b[2J"\n"a\\nb": 1\n'
    told = [str(mistake) for mistake in find_mistakes(text)]
    assert len(told) == 2
    assert all(line.isprintable() for line in told)


def test_a_long_value_is_cut() -> None:
    (mistake,) = find_mistakes(f"team_domain: '{'x' * 5000}/'\n")
    assert len(str(mistake)) < 300


def test_the_whole_sample_of_the_design_is_accepted() -> None:
    verify_only = "  - id: behind-cloudflare\n    domains: [app.example.net]\n    issuer: https://t.example.com\n"
    assert parse(f"{SAMPLE}{verify_only}    aud: {'a' * 64}\n").applications[1].issuer == "https://t.example.com"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null\n"])
def test_an_empty_file_is_a_mistake(text: str) -> None:
    (mistake,) = find_mistakes(text)
    assert mistake.message == "is empty"


@pytest.mark.parametrize("text", ["just text", "[a, b]", "5"])
def test_a_file_that_is_no_mapping_is_a_mistake(text: str) -> None:
    (mistake,) = find_mistakes(text)
    assert mistake.message.startswith("must be a mapping")


def test_broken_yaml_is_one_mistake() -> None:
    (mistake,) = find_mistakes("team_domain: auth.example.com\ngroups: [\n")
    assert mistake.line == 3
    assert mistake.message.startswith("is not valid YAML")


def test_a_file_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "authd.yml"
    file.write_bytes(b"\xef\xbb\xbf" + SAMPLE.encode())
    assert load_config(file) == parse(SAMPLE)


def test_files_that_cannot_be_read_are_mistakes_too(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yml"
    latin.write_bytes("name: Größe".encode("latin-1"))
    for path, words in ((tmp_path / "missing.yml", "cannot be read"), (tmp_path, "cannot be read"), (latin, "UTF-8")):
        with pytest.raises(ConfigError, match=words) as caught:
            load_config(path)
        assert caught.value.source == str(path)


_LINES = SAMPLE.splitlines()


@given(st.data())
def test_whatever_is_done_to_a_file_the_answer_is_a_configuration_or_a_list_of_mistakes(data: st.DataObject) -> None:
    lines = list(_LINES)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from(["drop", "double", "indent", "value", "key", "swap"]))
        if change == "drop" and len(lines) > 1:
            del lines[at]
        elif change == "double":
            lines.insert(at, lines[at])
        elif change == "indent":
            lines[at] = data.draw(st.sampled_from(["  ", " ", "- "])) + lines[at]
        elif change == "value":
            lines[at] = (
                lines[at].partition(":")[0] + ": " + data.draw(st.sampled_from(["5", "[]", "{}", "x", "", "*a"]))
            )
        elif change == "key":
            lines[at] = lines[at].replace(":", "x:", 1)
        else:
            lines[at] = lines[-1 - at]
    try:
        parse("\n".join(lines))
        return
    except ConfigError as error:
        mistakes = error.mistakes
    assert mistakes
    assert all(0 <= mistake.line <= len(lines) + 1 and mistake.message for mistake in mistakes)
    assert [mistake.line for mistake in mistakes] == sorted(mistake.line for mistake in mistakes)
