"""What a browser holds while somebody logs in: sealed, for one place, for some minutes, and never too much."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from authd.attempts import (
    APP_SESSION_COOKIE,
    ATTEMPT_SECONDS,
    MAX_ATTEMPTS_BYTES,
    MAX_STATE_PATH_BYTES,
    META_SECONDS,
    ROUND_SECONDS,
    AppSession,
    Attempt,
    Attempts,
    Meta,
    find_app_session,
    forget_attempt,
    hash_path,
)
from authd.sealing import Sealer
from tests.authd.house import NOW, SECRET, Clock

AUD, OTHER_AUD = "a" * 64, "b" * 64
META = Meta("grafana", "grafana.example.com", hash_path("/x"), "0" * 64, 0, None, NOW + META_SECONDS)


def make_attempt(**changes: Any) -> Attempt:
    values: dict[str, Any] = {
        "id": "6b000000ABCDEFGH",
        "state": "6b000000ABCDEFGH.secret",
        "nonce": "nonce",
        "code_verifier": "verifier",
        "provider_id": "corp",
        "application_id": "grafana",
        "host": "grafana.example.com",
        "return_path": "/x",
        "app_session_hash": "0" * 64,
        "round": 0,
        "expires_at": NOW + ATTEMPT_SECONDS,
    }
    return Attempt(**values | changes)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(clock: Clock) -> Attempts:
    return Attempts(Sealer([SECRET]), clock)


def as_header(lines: list[str], known: str = "") -> str:
    """The Cookie header of a browser that was sent these Set-Cookie lines."""
    jar = dict(pair.split("=", 1) for pair in known.split("; ") if pair)
    for line in lines:
        name, _, value = line.partition(";")[0].partition("=")
        jar[name] = value
    return "; ".join(f"{name}={value}" for name, value in jar.items() if value)


def test_a_browser_keeps_its_name_and_its_count() -> None:
    written = AppSession("n" * 22, 2, NOW, AUD[:8])

    found = find_app_session(as_header([written.render(NOW)]))

    assert found == written


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "n" * 22,
        f"{'n' * 22}.0",
        f"{'n' * 22}.0.0",
        f"{'n' * 22}.x.0.",
        f"{'n' * 22}.0.0.nothex!!",
        "n" * 21 + ".0.0.",
        f"{'n' * 22}.1000.0.",
        f"{'n' * 22}.0.0.\n",
        f"{'n' * 22}.٣.0.",
        f"{'n' * 22}.-1.0.",
    ],
)
def test_a_name_that_is_none_of_ours_is_nobody(value: str) -> None:
    assert find_app_session(f"{APP_SESSION_COOKIE}={value}") is None


def test_a_browser_with_two_names_has_none() -> None:
    one, other = (AppSession(letter * 22).render(NOW).partition(";")[0] for letter in "ab")

    assert find_app_session(f"{one}; {other}") is None


@pytest.mark.parametrize(
    ("now", "aud", "rounds"),
    [
        (NOW, AUD, 2),
        (NOW + ROUND_SECONDS, AUD, 2),
        (NOW + ROUND_SECONDS + 1, AUD, 0),
        (NOW - 1, AUD, 0),
        (NOW, OTHER_AUD, 0),
    ],
)
def test_rounds_count_in_a_row_and_for_one_application(now: int, aud: str, rounds: int) -> None:
    assert AppSession("n" * 22, 2, NOW, AUD[:8]).rounds(aud, now) == rounds


def test_others_know_a_name_by_its_hash_alone() -> None:
    assert AppSession("n" * 22).hash == AppSession("n" * 22, 3, NOW).hash != AppSession("m" * 22).hash


def test_meta_counts_on_its_host_for_five_minutes(attempts: Attempts, clock: Clock) -> None:
    text = attempts.render_meta(META)

    assert attempts.find_meta(text, "grafana.example.com") == META
    assert attempts.find_meta(text, "wiki.example.com") is None
    clock.now = NOW + META_SECONDS
    assert attempts.find_meta(text, "grafana.example.com") is None


def test_a_value_of_one_kind_is_not_taken_for_another(attempts: Attempts) -> None:
    """A path is sealed for anybody who logs in: it must not pass for what the application's host knows."""
    host = "grafana.example.com"
    path, meta = attempts.render_path('{"expires_at": 9999999999}', host), attempts.render_meta(META)

    assert attempts.find_meta(path, host) is None
    assert attempts.find_path(meta, host) is None
    assert attempts.find_attempt(f"{host}.x", f"__Host-authd_attempt_{host}_0={meta}") is None


def test_a_path_comes_back_unless_it_is_too_long(attempts: Attempts) -> None:
    longest = "/" + "x" * (MAX_STATE_PATH_BYTES - 1)

    assert attempts.find_path(attempts.render_path(longest, "a.example"), "a.example") == longest
    assert attempts.find_path(attempts.render_path(longest + "x", "a.example"), "a.example") == "/"
    assert attempts.find_path(attempts.render_path("/x", "a.example"), "b.example") is None


@pytest.mark.parametrize("length", [1, 4000, 8000])
def test_an_attempt_comes_back_however_long_its_path(attempts: Attempts, length: int) -> None:
    attempt = make_attempt(return_path="/" + "x" * length)
    lines = attempts.render_attempt(attempt, "")

    assert all(len(line) < 4096 for line in lines)
    assert attempts.find_attempt(attempt.state, as_header(lines)) == attempt


def test_an_attempt_ends_after_ten_minutes(attempts: Attempts, clock: Clock) -> None:
    attempt = make_attempt()
    header = as_header(attempts.render_attempt(attempt, ""))

    clock.now = NOW + ATTEMPT_SECONDS

    assert attempts.find_attempt(attempt.state, header) is None


@pytest.mark.parametrize(
    "state", ["", ".", "6b000000ABCDEFGX.secret", "6b000000", "__Host-", "*", "6b000000ABCDEFGH_0"]
)
def test_a_foreign_state_finds_no_attempt(attempts: Attempts, state: str) -> None:
    header = as_header(attempts.render_attempt(make_attempt(), ""))

    assert attempts.find_attempt(state, header) is None


def test_an_attempt_with_a_piece_missing_or_put_elsewhere_is_none(attempts: Attempts) -> None:
    attempt = make_attempt(return_path="/" + "x" * 8000)
    lines = attempts.render_attempt(attempt, "")
    assert len(lines) >= 3

    assert attempts.find_attempt(attempt.state, as_header(lines[1:])) is None
    assert attempts.find_attempt(attempt.state, as_header(lines[:-1])) is None
    renamed = [line.replace("ABCDEFGH_", "ABCDEFGI_") for line in lines]
    assert attempts.find_attempt("6b000000ABCDEFGI.secret", as_header(renamed)) is None


def test_the_oldest_attempts_make_room_for_the_youngest(attempts: Attempts) -> None:
    header, names = "", [f"6b0000{number:02x}ABCDEFGH" for number in range(40)]
    for name in names:
        attempt = make_attempt(id=name, state=f"{name}.secret", return_path="/" + "x" * 1000)
        header = as_header(attempts.render_attempt(attempt, header), header)

    alive = [name for name in names if attempts.find_attempt(f"{name}.secret", header)]

    assert alive == names[-len(alive) :]
    assert 5 <= len(alive) < 40
    assert len(header) < MAX_ATTEMPTS_BYTES + 1000


def test_an_attempt_that_is_over_is_removed_and_no_other(attempts: Attempts) -> None:
    over, other = (
        make_attempt(return_path="/" + "x" * 8000),
        make_attempt(id="6b000000ABCDEFGI", state="6b000000ABCDEFGI.s"),
    )
    header = as_header(attempts.render_attempt(other, ""), as_header(attempts.render_attempt(over, "")))

    header = as_header(forget_attempt(over.id, header), header)

    assert attempts.find_attempt(over.state, header) is None
    assert attempts.find_attempt(other.state, header) == other


def test_a_secret_that_was_replaced_leaves_attempts_alone(attempts: Attempts, clock: Clock) -> None:
    attempt = replace(make_attempt(), round=2)
    header = as_header(attempts.render_attempt(attempt, ""))

    assert Attempts(Sealer([b"n" * 32, SECRET]), clock).find_attempt(attempt.state, header) == attempt
    assert Attempts(Sealer([b"n" * 32]), clock).find_attempt(attempt.state, header) is None
