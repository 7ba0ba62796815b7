"""What the role nginx_edge writes for a host, as Ansible renders it: which connections to applications are kept."""

from __future__ import annotations

import json
from pathlib import Path

import crossplane

from tests.ansible.test_collection import COLLECTION, ansible

TEMPLATE = COLLECTION / "roles/nginx_edge/templates/host.conf.j2"
KEPT = {
    "a-b.test": "http://127.0.0.1:3000",
    "a.b.test": "http://[::1]:3000",
    "*.c.test": "http://origin1.example.com:80",
}
AS_THEY_ARE = {
    "tls.test": "https://192.0.2.7:443",
    "path.test": "http://192.0.2.7:3000/below/",
    "port.test": "http://192.0.2.7",
    "tunnel.test": "http://authd_tunnel_wiki",
}


def render(upstreams: dict[str, str], home: Path) -> str:
    hosts = [{"domain": domain, "upstream": upstream, "app": "app"} for domain, upstream in upstreams.items()]
    given = {"hosts": hosts, "nginx_edge_acme_domains": [], "file": str(TEMPLATE)}
    one = "lookup('ansible.builtin.template', file, template_vars={'item': item})"
    loop = f"{{% for item in hosts %}}{{{{ {one} }}}}{{% endfor %}}"
    options = [
        "localhost",
        "-i",
        "localhost,",
        "-c",
        "local",
        "-m",
        "debug",
        "-a",
        f"msg={loop}",
        "-e",
        json.dumps(given),
    ]
    done = ansible("ansible", *options, home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(json.loads(done.stdout[done.stdout.index("=> ") + 3 :])["msg"])


def test_connections_to_an_address_are_kept_and_whatever_else_is_passed_on_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "hosts.conf").write_text(render(KEPT | AS_THEY_ARE, tmp_path))
    parsed = crossplane.parse(str(tmp_path / "hosts.conf"), single=True, check_ctx=False, check_args=False)["config"][
        0
    ]["parsed"]

    upstreams = {block["args"][0]: block["block"] for block in parsed if block["directive"] == "upstream"}
    assert len(upstreams) == len(KEPT) == len([block for block in parsed if block["directive"] == "upstream"])
    servers = {
        name: [line["args"][0] for line in lines if line["directive"] == "server"] for name, lines in upstreams.items()
    }
    passed = {}
    for block in parsed:
        lines = {line["directive"]: line for line in block.get("block", ())}
        if block["directive"] == "server" and "location" in lines and "ssl_certificate" in lines:
            inner = {line["directive"]: line["args"] for line in lines["location"]["block"]}
            passed[lines["server_name"]["args"][0]] = inner
    assert {domain: passed[domain]["proxy_pass"] for domain in AS_THEY_ARE} == {
        domain: [upstream] for domain, upstream in AS_THEY_ARE.items()
    }
    for domain, upstream in KEPT.items():
        name = passed[domain]["proxy_pass"][0].removeprefix("http://")
        assert servers[name] == [upstream.removeprefix("http://")]
        assert {line["directive"] for line in upstreams[name]} == {"server", "keepalive", "keepalive_timeout"}
        assert passed[domain]["proxy_redirect"] == [f"{upstream}/", "/"]
