"""The store locked, full, read-only, deleted or sealed with another secret, under a running installation.

Reads go on where SQLite's do, logins get a 503, nobody is let in who may not, nobody is logged out, and afterwards all
is well without anybody's help where that is possible (reference/attacks.md F6 to F8).
"""

from __future__ import annotations

import contextlib
import copy
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.visits import wait_until
from tests.harness.browser import Answer, Browser
from tests.harness.stack import Stack, find_children, start_stack

pytestmark = pytest.mark.nginx
HOST, OTHER_HOST, TEAM = "grafana.test", "wiki.other.example", "auth.test"
GRACE_SECONDS = 3


@pytest.fixture(scope="module")
def volume() -> Iterator[Path]:
    """A file system of its own, small, in memory."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    with tempfile.TemporaryDirectory(prefix="authd-volume-") as directory:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", directory], capture_output=True)
        if mounted.returncode:
            pytest.skip("mounting is not allowed here")
        try:
            yield Path(directory)
        finally:
            subprocess.run(["umount", "-l", directory], check=True)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, volume: Path) -> Iterator[Stack]:
    settings = {
        "state": f"sqlite:{volume}/authd.db",
        "store_outage_grace": f"{GRACE_SECONDS}s",
        "decision_cache_seconds": 0,
        "workers": 2,
    }
    with start_stack(tmp_path_factory.mktemp("store"), settings=settings) as running:
        yield running


@pytest.fixture
def alice(stack: Stack, volume: Path) -> Browser:
    """Logged in, and remembered by both workers."""
    wait_until(lambda: is_ready(stack))
    browser = stack.log_in(stack.url(HOST), "alice")
    for _ in range(10):
        assert browser.request(stack.url(HOST)).status == 200
    return browser


def is_ready(stack: Stack) -> bool:
    return all(stack.ask_authd("/readyz") == 200 for _ in range(6))


def try_log_in(stack: Stack, account: str = "alice") -> Answer:
    return stack.try_log_in(stack.url(HOST), account, stack.browser())


def assert_outage_page(answer: Answer) -> None:
    assert (answer.status, answer.get("Retry-After")) == (503, "5")
    assert "Max-Age=0" not in "".join(answer.get_all("Set-Cookie"))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.close()


def test_a_locked_file_stops_logins_and_nobody_who_is_in(stack: Stack, alice: Browser, volume: Path) -> None:
    with locked(volume / "authd.db"):
        assert_outage_page(try_log_in(stack))
        wait_until(lambda: stack.ask_authd("/readyz") == 503)
        for _ in range(10):
            assert alice.request(stack.url(HOST)).status == 200
        assert stack.browser().request(stack.url(HOST)).status == 302
        logout = stack.url(HOST, "/cdn-cgi/access/logout")
        own_form = [("Sec-Fetch-Site", "same-origin")]
        assert_outage_page(alice.request(logout, method="POST", form={}, headers=own_form))
    wait_until(lambda: is_ready(stack))
    assert alice.request(stack.url(HOST)).status == 200
    assert try_log_in(stack).status == 200


def test_a_worker_that_dies_while_the_file_is_locked_does_not_end_the_service(
    stack: Stack, alice: Browser, volume: Path
) -> None:
    """gunicorn would end all of it, if the worker that takes its place failed to start."""
    assert stack.authd is not None
    with locked(volume / "authd.db"):
        killed = find_children(stack.authd.pid)[0]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: killed not in find_children(stack.authd.pid) and len(find_children(stack.authd.pid)) == 2)
        wait_until(lambda: any("database is locked" in line["message"] for line in stack.events("store.down")))
        assert alice.request(stack.url(HOST)).status in (200, 503)
        assert stack.authd.poll() is None
    wait_until(lambda: is_ready(stack))
    assert alice.request(stack.url(HOST)).status == 200


def test_a_full_disk_stops_logins_and_nobody_who_is_in(stack: Stack, alice: Browser, volume: Path) -> None:
    before = len(stack.events("store.down"))
    filler = volume / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(b"x" * 4096)
            file.flush()
    wait_until(lambda: try_log_in(stack).status == 503, seconds=30)
    wait_until(lambda: stack.ask_authd("/readyz") == 503)
    wait_until(lambda: b"authd_store_up 0.0" in stack.fetch_authd("/metrics")[1])
    for _ in range(10):
        assert alice.request(stack.url(HOST)).status == 200
    filler.unlink()
    wait_until(lambda: is_ready(stack))
    assert try_log_in(stack).status == 200
    assert alice.request(stack.url(HOST)).status == 200
    with sqlite3.connect(volume / "authd.db") as check:
        assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()
    assert len(stack.events("store.down")) - before <= 4  # once or twice a worker, however many met it


def test_a_read_only_volume_stops_logins_and_nobody_who_is_in(stack: Stack, alice: Browser, volume: Path) -> None:
    """Even over a start, as after a file system was mounted read-only for its errors."""
    stack.stop_authd()
    subprocess.run(["mount", "-o", "remount,ro", str(volume)], check=True)
    try:
        with (stack.directory / "authd.log").open("ab") as log:
            stack.authd = subprocess.Popen(serve_command(stack), stderr=log)
        wait_until(lambda: stack.ask_authd("/healthz") == 200)
        assert stack.ask_authd("/readyz") == 503
        assert alice.request(stack.url(HOST)).status == 200
        assert_outage_page(try_log_in(stack))
        assert any("readonly" in line["message"] for line in stack.events("store.down"))
    finally:
        stack.stop_authd()
        subprocess.run(["mount", "-o", "remount,rw", str(volume)], check=True)
        stack.start_authd()
    assert alice.request(stack.url(HOST)).status == 200


def serve_command(stack: Stack) -> list[str]:
    return [sys.executable, "-m", "authd.cli", "serve", "--config", str(stack.directory / "authd.yml")]


def test_after_the_grace_everybody_is_refused_and_nobody_is_logged_out(
    stack: Stack, alice: Browser, volume: Path
) -> None:
    """The file is gone: remembered sessions go on for store_outage_grace. Put back, it is found again."""
    path, away = volume / "authd.db", volume / "away.db"
    told = len(stack.events("store.down"))
    path.rename(away)
    try:
        assert alice.request(stack.url(HOST)).status == 200
        assert_outage_page(try_log_in(stack))
        wait_until(lambda: alice.request(stack.url(HOST)).status == 503)
        stack.application.seen.clear()
        for _ in range(6):
            assert_outage_page(alice.request(stack.url(HOST)))
        assert stack.application.seen == []
        messages = [line["message"] for line in stack.events("store.down")[told:]]
        assert 1 <= len(messages) <= 2, messages  # one a worker
        assert any("restart authd" in message for message in messages)
    finally:
        away.rename(path)
    wait_until(lambda: is_ready(stack))
    assert alice.request(stack.url(HOST)).status == 200


def test_another_secret_is_refused_at_start_in_one_sentence(stack: Stack, alice: Browser) -> None:
    """New keys in the place of those that cannot be opened would log everybody out."""
    secret = stack.directory / "secret"
    right = secret.read_text()
    stack.stop_authd()
    secret.write_text("A" * 43 + "=\n")
    try:
        refused = subprocess.run(serve_command(stack), capture_output=True, text=True, timeout=60)
        assert refused.returncode == 1
        assert "another secret" in refused.stderr
        assert right.strip() not in refused.stderr
    finally:
        secret.write_text("A" * 43 + "=\n" + right)
        stack.start_authd()
    assert copy.deepcopy(alice).request(stack.url(HOST)).status == 200
    secret.write_text(right)


def test_requests_during_an_outage_write_one_line_and_not_one_each(stack: Stack, alice: Browser, volume: Path) -> None:
    before = len(stack.events("store.error"))
    with locked(volume / "authd.db"):
        for _ in range(15):
            browser = copy.deepcopy(alice)
            browser.cookies.pop(HOST)
            assert_outage_page(browser.visit(stack.url(HOST)))
    assert len(stack.events("store.error")) - before <= 2
