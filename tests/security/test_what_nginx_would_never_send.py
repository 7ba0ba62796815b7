"""The check asked with missing, doubled, broken and enormous headers: refused, and never a 500 (attacks.md 1.2, 1.4)."""  # noqa: E501

from __future__ import annotations

import pytest

from tests.security.edge import ADDRESS, Edge, Reply, ask


async def good_cookie(edge: Edge) -> str:
    return edge.cookie(edge.token(await edge.log_in()))


@pytest.mark.parametrize("name", ["x_original_url", "x_original_method", "x_real_ip"])
async def test_a_missing_header_refuses(edge: Edge, name: str) -> None:
    cookie = await good_cookie(edge)
    for value in (None, ""):
        answer = await edge.check(cookie=cookie, **{name: value})
        assert answer.status == 403, value
        assert answer.get("x-accel-expires") == "0"


async def test_any_header_twice_refuses(edge: Edge) -> None:
    """Which of the two would count? nginx sends each once."""
    cookie = await good_cookie(edge)
    pairs = [
        ("x-original-method", "GET"),
        ("x-original-url", "https://grafana.test:8443/"),
        ("x-original-path", "/"),
        ("x-real-ip", ADDRESS),
        ("x-authd-app", ""),
        ("x-authd-scope", "grafana.test"),
        ("x-authd-session", ""),
        ("cookie", cookie),
        ("cf-access-token", ""),
        ("authorization", ""),
        ("x-request-id", "1"),
    ]
    assert (await ask(edge.app, "/auth", pairs)).status == 200
    for position, (name, value) in enumerate(pairs):
        for doubled in ([*pairs, (name, value)], [*pairs, (name.upper(), "other")], [("cookie", ""), *pairs]):
            assert (await ask(edge.app, "/auth", doubled)).status == 403, (position, name)


BAD_URLS = [
    "", "/", "grafana.test", "//grafana.test/", "https://", "https:///", "https://grafana.test", "https://grafana.test?x",
    "ftp://grafana.test/", "https://grafana.test:8443:1/", "https://grafana.test:99999999/", "https://grafana.test:a/",
    "https://grafana.test:²/", "https://u@grafana.test/", "https://grafana.test@evil.test/", "https://grafana.test\\@evil/",
    "https://grafana.test#@evil.test/", "https://[::1]/", "http://[::1", "https://[v1.x]/", "https://a\"b/", "https://a b/",  # noqa: E501
    "https://a,grafana.test/", "https://grafana.test\x00/", "https://.grafana.test/", "https://grafana..test/",
    "https://grafana%2etest/", "https://graf\xe4na.test/", "https://" + "a" * 300 + "/", "https://" + "a." * 200 + "test/",  # noqa: E501
    "HTTPS://grafana.test/", " https://grafana.test/", "https://*.test/", "https://-grafana.test/",
]  # fmt: skip


async def test_a_url_that_is_none_refuses(edge: Edge) -> None:
    """Authelia's CVE-2021-32637 answered 200 to what its parser refused."""
    cookie = await good_cookie(edge)
    let_in = {url for url in BAD_URLS if (await edge.check(cookie=cookie, x_original_url=url)).status != 403}
    assert let_in == set()


async def test_an_address_that_is_none_refuses(edge: Edge) -> None:
    """authentik's CVE-2024-47070: a rule that cannot read the address must not be skipped."""
    cookie = await good_cookie(edge)
    lists = ("1.2.3.4, 5.6.7.8", "1.2.3.4:80", "1.2.3.4 ")
    for address in ("a", "1.2.3", "010.0.0.1", *lists, "::g", "::1\x00", "unix:", "²", "1" * 5000):
        answer = await edge.check(cookie=cookie, x_real_ip=address)
        assert answer.status == 403, address


async def test_a_host_that_nobody_configured_is_refused_for_everybody(edge: Edge) -> None:
    cookie = await good_cookie(edge)
    hosts = (
        "evil.test", "grafana.test.evil.test", "evilgrafana.test", "test", "grafana", "a.grafana.test", "tenants.test",
        "a.b.tenants.test", "xtenants.test", "grafana.test.evil", "auth.test", "localhost", "127.0.0.1", "_",
    )  # fmt: skip
    for host in hosts:
        answer = await edge.check(host, cookie=cookie, cf_access_token=cookie.partition("=")[2])
        assert answer.status == 403, host


async def test_one_host_has_one_application_however_it_is_written(edge: Edge) -> None:
    """Authelia's CVE-2026-48794, tinyauth's CVE-2026-77560: another case met another rule."""
    session = await edge.log_in()
    for host in ("GRAFANA.TEST", "Grafana.Test", "grafana.test.", "GRAFANA.test."):
        answer = await edge.check(host, cookie=edge.cookie(edge.token(session)))
        assert answer.status == 200, host
    for host in ("PATHS.TEST", "paths.test.", "PATHS.test."):
        admin = await edge.check(host, "/admin", cookie=edge.cookie(edge.token(session, "admin"), "admin"))
        assert admin.status == 403, "only root@example.com is admitted"
        assert (await edge.check(host, "/public")).status == 200


async def test_a_wildcard_covers_one_label_and_its_token_every_host_of_it(edge: Edge) -> None:
    token = edge.cookie(edge.token(await edge.log_in(), "tenants"), "tenants")
    for host, status in (
        ("a.tenants.test", 200),
        ("b.tenants.test", 200),
        ("a.b.tenants.test", 403),
        ("tenants.test", 403),
    ):
        assert (await edge.check(host, cookie=token)).status == status, host


async def test_a_name_that_the_location_claims_wrongly_is_refused(edge: Edge) -> None:
    session = await edge.log_in("root@example.com")
    every = "; ".join(edge.cookie(edge.token(session, name), name) for name in ("site", "public", "admin", "grafana"))
    for claim, target in (
        ("public", "/admin"), ("site", "/admin"), ("admin", "/"), ("admin", "/public"), ("grafana", "/"), ("PUBLIC", "/public"),  # noqa: E501
        ("public", "/"), ("nobody", "/public"), ("public,admin", "/public"), ("public\x00", "/public"), (" public", "/public"),  # noqa: E501
    ):  # fmt: skip
        answer = await edge.check("paths.test", target, x_authd_app=claim, cookie=every)
        assert answer.status == 403, (claim, target)


async def test_a_path_that_nginx_did_not_send_is_guessed_for_nobody(edge: Edge) -> None:
    for claim in ("", "public", "site", "admin"):
        for target in ("/public", "/public/x", "/admin", "/"):
            answer = await edge.check("paths.test", target, x_original_path=None, x_authd_app=claim)
            assert answer.status == 403, (claim, target)


async def test_enormous_and_broken_values_are_read_within_bounds(edge: Edge) -> None:
    cookie = await good_cookie(edge)
    hostile: list[dict[str, str | bytes]] = [
        {"cookie": "CF_AUTHORIZATION=" + "e" * 1_000_000},
        {"cookie": "CF_AUTHORIZATION=eyJ" + "." * 1_000_000},
        {"cookie": b"CF_AUTHORIZATION=\xff\xfe\x80"},
        {"cookie": b"\xff" * 30_000},
        {"cookie": "; ".join(f"CF_AUTHORIZATION=eyJ{number}" for number in range(5000))},
        {"cookie": "CF_AUTHORIZATION=;" * 5000},
        {"cookie": "=" * 30_000},
        {"cookie": '$Version=1; CF_AUTHORIZATION="\\145\\171"'},
        {"cf_access_token": b"\xf0\x28\x8c\x28"},
        {"cf_access_token": "eyJ" * 300_000},
        {"authorization": "Bearer " + "eyJ." * 100_000},
        {"authorization": b"Bearer eyJ\xff.eyJ\xff.\xff"},
        {"authorization": "Bearer"},
        {"authorization": "bearer\teyJ.a.b"},
        {"authorization": "Basic " + "A" * 10_000},
        {"x_authd_session": "eyJ" * 100_000},
        {"x_authd_app": b"\xff\x00"},
        {"x_request_id": b"\xff" * 1000},
        {"x_original_method": b"\xff\x00"},
    ]
    nobody = await edge.check()
    for headers in hostile:
        answer: Reply = await edge.check(**headers)
        assert answer.status in (401, 403), headers
        assert answer.body == nobody.body
    assert (await edge.check(cookie=cookie, x_original_path=b"/\xff")).status == 403
    assert (await edge.check(cookie=cookie)).status == 200, "and the next one is served"


async def test_a_garbage_cookie_is_a_refusal_and_not_a_pass(edge: Edge) -> None:
    """authentik's CVE-2026-25748: the handler gave up on a broken session cookie, with 200."""
    for value in (
        "garbage",
        "null",
        "{}",
        "eyJ",
        "eyJ.eyJ.eyJ",
        "..",
        "deleted",
        "0",
        "eyJhbGciOiJub25lIn0.e30.",
        "a" * 7000,
    ):
        for answer in (
            await edge.check(cookie=f"CF_AUTHORIZATION={value}"),
            await edge.check(cookie=f"CF_AUTHORIZATION={value}", x_authd_session=value),
        ):
            assert answer.status == 401, value
            assert answer.body == b""
