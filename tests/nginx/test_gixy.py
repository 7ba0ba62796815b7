"""gixy-ng finds nothing in the reference host and in the other examples, with every plugin on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.nginx.test_examples import EXAMPLES, NGINX_FILES

_MAIN = """
user www-data;
worker_processes auto;
worker_rlimit_nofile 8192;
error_log /var/log/nginx/error.log;
events { worker_connections 2048; }
http {
    server_tokens off;
    include authd/examples/authd.conf;
    %s
}
"""


def find_problems(directory: Path, example: str) -> list[dict[str, object]]:
    shutil.copytree(NGINX_FILES, directory / "authd")
    shutil.copy("/etc/nginx/fastcgi_params", directory)
    main = directory / "nginx.conf"
    main.write_text(_MAIN % f"include authd/examples/{example};")
    command = [sys.executable, "-m", "gixy", "--format", "json", str(main)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("example", [name for name in EXAMPLES if name != "authd.conf"])
def test_gixy_finds_nothing(tmp_path: Path, example: str) -> None:
    assert find_problems(tmp_path, example) == []


def test_gixy_would_have_found_something(tmp_path: Path) -> None:
    """A raw path in a header is what it has to see: the very hole of test_injection.py."""
    directory = tmp_path / "nginx"
    shutil.copytree(NGINX_FILES, directory)
    text = (directory / "examples/reference-host.conf").read_text()
    broken = tmp_path / "nginx.conf"
    text = text.replace("set $authd_app app;", "set $authd_app app; proxy_set_header X-Path $uri;")
    broken.write_text(_MAIN.replace("include authd/examples/authd.conf;", "").replace("%s", text))
    (tmp_path / "authd").symlink_to(directory)
    done = subprocess.run(
        [sys.executable, "-m", "gixy", "--format", "json", str(broken)], capture_output=True, text=True, timeout=60
    )
    assert "http_splitting" in {problem["plugin"] for problem in json.loads(done.stdout)}
