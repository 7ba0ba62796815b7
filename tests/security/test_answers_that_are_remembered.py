"""authd remembers what it answered to the very same headers: for nobody else, no longer than it holds, not too much."""

from __future__ import annotations

import gc
import sys

from authd.resources.check import Check
from tests.security.edge import Edge, Reply, ask


def remembered(edge: Edge) -> dict[object, object]:
    """What the check of this worker keeps, found where the application holds it."""
    (check,) = [each for each in gc.get_objects() if type(each) is Check and each._access is edge.worker.access]
    return check._remembered  # type: ignore[return-value]


async def test_one_header_more_or_less_is_another_request(edge: Edge) -> None:
    alice, mallory = await edge.log_in(), await edge.log_in("mallory@example.org")
    cookie = edge.cookie(edge.token(alice))
    for _ in range(2):
        assert (await edge.check(cookie=cookie)).get("x-authd-user") == "alice@example.com"
    changed: list[dict[str, str | bytes | None]] = [
        {"cookie": edge.cookie(edge.token(mallory))}, {"cookie": None}, {"cookie": cookie, "x_real_ip": None},
        {"cookie": cookie, "x_authd_app": "wiki"}, {"cookie": cookie, "x_original_path": "/other"},
        {"cookie": cookie, "x_original_url": "https://wiki.test:8443/"}, {"cookie": cookie + "x"},
        {"cookie": cookie, "cf_access_token": edge.token(mallory)},
    ]  # fmt: skip
    for headers in changed:
        assert (await edge.check(**headers)).status in (401, 403), headers


async def test_a_second_request_id_is_not_overlooked(edge: Edge) -> None:
    """The one header that may differ from the remembered request."""
    cookie = edge.cookie(edge.token(await edge.log_in()))
    pairs = [("x-original-method", "GET"), ("x-original-url", "https://grafana.test/"), ("x-original-path", "/"),
             ("x-real-ip", "1.2.3.4"), ("cookie", cookie)]  # fmt: skip
    assert (await ask(edge.app, "/auth", [*pairs, ("x-request-id", "1")])).status == 200
    assert (await ask(edge.app, "/auth", [*pairs, ("x-request-id", "2")])).status == 200
    assert (await ask(edge.app, "/auth", pairs)).status == 200
    assert (await ask(edge.app, "/auth", [*pairs, ("x-request-id", "1"), ("x-request-id", "2")])).status == 403


async def test_a_remembered_answer_ends_with_the_grace_of_an_outage(edge: Edge) -> None:
    cookie = edge.cookie(edge.token(await edge.log_in()))
    assert (await edge.check(cookie=cookie)).status == 200
    edge.worker.sessions._answered_at -= 299
    assert (await edge.check(cookie=cookie)).status == 200
    edge.worker.sessions._answered_at -= 2
    assert (await edge.check(cookie=cookie)).status == 500


async def test_no_person_can_fill_the_memory_with_long_requests(edge: Edge) -> None:
    """4,000 requests of 60 kB each, from anybody who may log in, would be a quarter of a gigabyte a worker."""
    cookie = edge.cookie(edge.token(await edge.log_in()))
    for number in range(20):
        answer: Reply = await edge.check(target=f"/?{number}{'x' * 30_000}", cookie=f"{cookie}; y={'y' * 28_000}")
        assert answer.status == 200
    assert sum(sys.getsizeof(value) for key in remembered(edge) for _, value in key) < 100_000  # type: ignore[attr-defined]
