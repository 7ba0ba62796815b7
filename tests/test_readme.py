"""What the README tells people to paste is right: authd takes its configuration, nginx its hosts."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from authd.cli import main
from tests.demo.certificates import ensure_certificates
from tests.harness.nginx import check_nginx, find_free_port

README = Path(__file__).parents[1] / "README.md"
CERTIFICATE = "ssl_certificate {directory}/server.pem; ssl_certificate_key {directory}/server.key;\n"


def find_block(language: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 1, f"{len(blocks)} blocks of {language}; this test reads the only one"
    return str(blocks[0])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "authd.yml"
    path.write_text(find_block("yaml").replace("/etc/authd/", f"{tmp_path}/"))
    for name in ("secret", "corp.secret"):
        (tmp_path / name).write_text(base64.b64encode(bytes(32)).decode())
    return path


def test_it_is_short() -> None:
    assert len(README.read_text().splitlines()) < 120


def test_authd_accepts_the_configuration(config: Path) -> None:
    result = CliRunner().invoke(main, ["check-config", "--config", str(config)])
    assert (result.exit_code, "ok (1 applications" in result.output) == (0, True), result.output


@pytest.mark.nginx
def test_nginx_accepts_the_hosts_with_the_files_that_authd_renders(config: Path, tmp_path: Path) -> None:
    rendered = tmp_path / "nginx" / "authd"
    result = CliRunner().invoke(main, ["nginx", "render", "--config", str(config), "--out", str(rendered)])
    assert result.exit_code == 0, result.output
    ensure_certificates(tmp_path, ["auth.example.com", "grafana.example.com"])
    # Debian's own place for it exists only where the package made it.
    shared = (rendered / "authd-http.conf").read_text()
    (rendered / "authd-http.conf").write_text(re.sub(r"proxy_cache_path \S+", f"proxy_cache_path {tmp_path}/c", shared))
    hosts = find_block("nginx").replace("/etc/nginx/authd", str(rendered))
    hosts = hosts.replace("listen 443 ssl", f"listen 127.0.0.1:{find_free_port()} ssl")
    verdict = check_nginx(tmp_path / "nginx", CERTIFICATE.format(directory=tmp_path) + hosts)
    assert "test is successful" in verdict
    # The machine's own limit of open files is no matter of these files.
    warnings = [line for line in verdict.splitlines() if "[warn]" in line and "open file resource limit" not in line]
    assert warnings == []


@pytest.mark.parametrize(("email", "outcome"), [("jane@example.com", "allow"), ("mallory@example.com", "deny")])
def test_its_policy_admits_engineers_and_not_mallory(config: Path, email: str, outcome: str) -> None:
    arguments = ["explain", "--config", str(config), "--url", "https://grafana.example.com/", "--email", email]
    result = CliRunner().invoke(main, arguments)
    assert f"outcome: {outcome}" in result.output


def list_pages() -> list[Path]:
    root = README.parent
    return [*root.glob("*.md"), *(root / "docs").rglob("*.md")]


@pytest.mark.parametrize("page", list_pages(), ids=lambda page: page.name)
def test_every_file_that_a_page_links_to_exists(page: Path) -> None:
    linked = re.findall(r"\]\(([^):#]+)(?:#[^)]*)?\)", page.read_text())
    assert [path for path in linked if not (page.parent / path).exists()] == []


def test_every_path_that_the_readme_names_exists() -> None:
    named = re.findall(r"`((?:docs|nginx|tests|\.ci)/[\w./-]*)`", README.read_text())
    assert named
    assert [path for path in named if not (README.parent / path).exists()] == []
