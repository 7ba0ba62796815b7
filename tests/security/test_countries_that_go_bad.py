"""A database of countries that is damaged while authd runs: nobody is let in by it, and no worker stops."""

from __future__ import annotations

from pathlib import Path

from tests.harness.countries import write_countries
from tests.security.edge import ADDRESS, make_edge

GERMANS = {"name": "Germans", "decision": "allow", "include": [{"geo": "DE"}]}
NETWORK = f"{ADDRESS}/32"


async def test_a_replaced_database_counts_within_a_minute_and_a_damaged_one_changes_nothing(tmp_path: Path) -> None:
    path = write_countries(tmp_path / "c.mmdb", {NETWORK: {"country": {"iso_code": "DE"}}})
    application = {"id": "grafana", "domains": ["grafana.test"], "policies": [GERMANS]}
    edge = make_edge(tmp_path, applications=[application], geo_database=str(path))
    await edge.worker.start()
    token = edge.token(await edge.log_in())

    async def ask() -> int:
        edge.worker._next_look_at_countries = 0.0
        await edge.worker._run_once(True)
        return (await edge.check(cookie=edge.cookie(token))).status

    assert await ask() == 200
    path.write_bytes(b"damaged")
    assert await ask() == 200
    write_countries(path, {NETWORK: {"country": {"iso_code": "FR"}}})
    assert await ask() == 403
    path.unlink()
    assert await ask() == 403

    edge.worker.close()
    await edge.worker.store.close()
