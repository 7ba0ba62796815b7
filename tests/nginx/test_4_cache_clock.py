"""A clock that is set back, as one is that was found to be ahead: what had ended stays ended."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from authd.nginx_files import NginxSettings
from tests.harness import nginx
from tests.harness.protected import PROTECTED, render_server, running_site
from tests.harness.raw_http import Reply
from tests.harness.standin import IDENTITY

pytestmark = pytest.mark.nginx

_HTTP = render_server("host.example.com", f"location / {{ set $authd_app app; {PROTECTED} }}")
_SETTINGS = NginxSettings(scopes=(("host.example.com", "host"),))


def _count_checks(directory: Path) -> int:
    """How often authd is asked in two equal requests to an nginx that begins with what an earlier one has kept."""
    (directory / "authd.sock").unlink(missing_ok=True)
    with running_site(directory, _HTTP, _SETTINGS) as site:
        site.authd.program(check=Reply(200, (*IDENTITY, ("X-Accel-Expires", f"@{int(time.time()) + 9}"))))
        for _ in range(2):
            site.get("host.example.com", "/", session="good")
        return len(site.authd.checks)


def test_a_clock_that_is_set_back_makes_no_decision_valid_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [library] = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    program = tmp_path / "nginx-elsewhen"
    program.write_text(f'#!/bin/sh\nLD_PRELOAD={library} exec {nginx.NGINX} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(nginx, "NGINX", str(program))
    directory = tmp_path / "site"
    # The first two begin and end within the same ten seconds.
    if time.time() % 10 > 4:
        time.sleep(10 - time.time() % 10)
    monkeypatch.setenv("FAKETIME", "+0")
    assert _count_checks(directory) == 1
    assert _count_checks(directory) == 0, "what an earlier nginx kept is used: else this test could not fail"
    monkeypatch.setenv("FAKETIME", "-60")
    assert _count_checks(directory) == 1
