"""`authd nginx check` beside a real nginx: which of the files that it includes are not those of this version."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from authd.cli import main
from authd.config import load_config
from authd.nginx_files.from_config import render_nginx_files
from tests.authd.house import CONFIG
from tests.harness.nginx import NGINX

SECRET = "qM3vT8sZ1xR5kW9bYd2uJ6fH0cLpA4gE"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """authd on TCP, so that a file holds a secret."""
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "secret").chmod(0o600)
    text = CONFIG.replace("/nowhere", "secret")
    listen = [line for line in text.splitlines() if line.startswith("listen:")]
    text = text.replace(listen[0], "") if listen else text
    path = tmp_path / "authd.yml"
    path.write_text(f"listen: 127.0.0.1:9\nlisten_secret_file: {tmp_path}/secret\n{text}")
    return path


@pytest.fixture
def nginx_conf(tmp_path: Path, config: Path) -> Path:
    """An nginx that includes what was rendered, and a copy of one file in a directory of its operator's."""
    rendered = run("render", "--config", config, "--out", tmp_path / "authd", "--cache-dir", tmp_path / "cache")
    assert rendered.exit_code == 0, rendered.output
    (tmp_path / "snippets").mkdir()
    copy = tmp_path / "snippets" / "gate.conf"
    copy.write_text("# Ours, from the wiki\n" + (tmp_path / "authd" / "authd-protect.conf").read_text())
    path = tmp_path / "nginx.conf"
    path.write_text(f"""
        pid {tmp_path}/pid; error_log stderr; events {{}}
        http {{
            access_log off;
            client_body_temp_path {tmp_path}; proxy_temp_path {tmp_path}; fastcgi_temp_path {tmp_path};
            uwsgi_temp_path {tmp_path}; scgi_temp_path {tmp_path};
            include authd/authd-http.conf;
            server {{
                listen 127.0.0.1:1;
                server_name grafana.example.com;
                include authd/authd-server.conf;
                location / {{ include {copy}; include authd/authd-identity.conf; proxy_pass http://127.0.0.1:2; }}
            }}
        }}""")
    return path


def run(command: str, *arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["nginx", command, *map(str, arguments)])


def check(config: Path, nginx_conf: Path, *arguments: str) -> Result:
    cache = nginx_conf.parent / "cache"
    return run(
        "check", "--config", config, "--cache-dir", cache, "--nginx", NGINX, "--nginx-conf", nginx_conf, *arguments
    )


def test_files_of_this_version_are_current_wherever_they_lie(config: Path, nginx_conf: Path) -> None:
    found = check(config, nginx_conf, "--json")

    assert found.exit_code == 0, found.output
    files = {Path(each["path"]).name: each for each in json.loads(found.output)["files"]}
    assert set(files) == {"authd-http.conf", "authd-server.conf", "gate.conf", "authd-identity.conf"}
    assert {each["finding"] for each in files.values()} == {"current"}
    assert files["gate.conf"]["name"] == "authd-protect.conf"


def test_an_older_copy_is_named_with_its_first_other_line(config: Path, nginx_conf: Path) -> None:
    copy = nginx_conf.parent / "snippets" / "gate.conf"
    lines = copy.read_text().splitlines(keepends=True)
    changed = next(at for at, line in enumerate(lines) if line.lstrip().startswith("auth_request_set"))
    copy.write_text("".join(lines[:changed] + lines[changed + 1 :]))

    found = check(config, nginx_conf)

    assert found.exit_code == 1
    assert f"{copy}: differs from this version's authd-protect.conf, first in line {changed + 1}\n" in found.output
    assert "authd nginx render" in found.output
    assert found.output.count("current") == 3


def test_a_copy_that_was_cut_or_continued_differs(config: Path, nginx_conf: Path) -> None:
    copy = nginx_conf.parent / "snippets" / "gate.conf"
    whole = copy.read_text()
    lines = len(whole.splitlines())
    for text, line in [(whole + "satisfy any;\n", lines + 1), (whole[: whole.rstrip().rindex("\n") + 1], lines)]:
        copy.write_text(text)
        found = check(config, nginx_conf)
        assert found.exit_code == 1
        assert f"gate.conf: differs from this version's authd-protect.conf, first in line {line}\n" in found.output


def test_a_configuration_that_was_changed_since_differs_and_no_secret_is_told(config: Path, nginx_conf: Path) -> None:
    (config.parent / "secret").write_text(SECRET[::-1])

    for arguments in ((), ("--json",)):
        found = check(config, nginx_conf, *arguments)
        assert found.exit_code == 1
        assert SECRET not in found.output
        assert SECRET[::-1] not in found.output


def test_an_nginx_without_authd_is_no_success(config: Path, nginx_conf: Path) -> None:
    nginx_conf.write_text(f"pid {nginx_conf.parent}/pid; error_log stderr; events {{}}")

    found = check(config, nginx_conf)

    assert found.exit_code == 1
    assert "includes none of authd's files" in found.output


def test_what_nginx_itself_refuses_is_said_in_its_words(config: Path, nginx_conf: Path) -> None:
    (nginx_conf.parent / "snippets" / "gate.conf").write_text("no_such_directive on;\n")

    found = check(config, nginx_conf)

    assert found.exit_code == 1
    assert 'unknown directive "no_such_directive"' in found.output
    assert "nothing was compared" in found.output


def test_an_nginx_that_is_not_there_is_said(config: Path) -> None:
    found = run("check", "--config", config, "--nginx", "/nowhere/nginx")

    assert found.exit_code == 1
    assert "--dump" in found.output


def test_what_nginx_printed_elsewhere_will_do(config: Path, nginx_conf: Path, tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(subprocess.run([NGINX, "-T", "-c", nginx_conf], check=True, capture_output=True).stdout)

    found = run("check", "--config", config, "--cache-dir", nginx_conf.parent / "cache", "--dump", dump)

    assert found.exit_code == 0, found.output


def test_a_file_of_another_version_and_one_that_is_the_operators_own(config: Path, tmp_path: Path) -> None:
    rendered = render_nginx_files(load_config(config))
    dump = tmp_path / "dump"
    dump.write_text(
        "# configuration file /etc/nginx/authd-old.conf:\n# authd-old.conf: of an older one\nallow all;\n\n"
        f"# configuration file /etc/nginx/authd-default.conf:\n{rendered['authd-default.conf']}listen 8443;\n\n"
    )

    found = run("check", "--config", config, "--dump", dump)

    assert found.exit_code == 1
    assert "/etc/nginx/authd-old.conf: this version has no authd-old.conf\n" in found.output
    assert "/etc/nginx/authd-default.conf: yours, not compared\n" in found.output
