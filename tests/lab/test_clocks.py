"""An edge whose clock is ten minutes off: what is wrong is told, and nobody is served who may not be."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from tests.lab.estate import ALICE, BOB, EDGES, GRAFANA
from tests.lab.machines import Lab, wait_until
from tests.lab.visitors import Visitor, is_served
from tests.lab.watching import Watch, is_whole

_TIMED = ("authd.service", "nginx.service")


def test_a_clock_is_ten_minutes_ahead(estate: Lab, watch: Watch) -> None:
    """Of one edge. It works on, says what is wrong, and what began in the future is revoked as well."""
    ahead, right = EDGES
    with watch.going_on(), _clock_off(estate, ahead, 600) as read_log:
        bob = Visitor(estate.network)
        assert is_served(bob.log_in(BOB, edge=ahead))
        assert '"provider.clock_differs", "idp": "corp", "ahead_by_seconds": -60' in read_log()
        estate[right].run("authd", "sessions", "revoke", "--person", str(BOB.claims["email"]))
        for edge in EDGES:
            wait_until(lambda edge=edge: bob.ask(GRAFANA, edge=edge).status == 401, "Bob is out", seconds=10)


def test_a_clock_is_ten_minutes_behind(estate: Lab, watch: Watch) -> None:
    """There, tokens of the other edge and of the provider are from the future: refused, and told; the rest works on."""
    behind, right = EDGES
    with watch.going_on(excused=behind), _clock_off(estate, behind, -600) as read_log:
        page = Visitor(estate.network).log_in(ALICE, edge=behind)
        assert (page.status, "could not be trusted" in page.text) == (400, True)
        assert "the ID token is from the future; do the clocks agree?" in read_log()
        wait_until(lambda: "token_not_yet_valid" in read_log(), "the log tells why members are not served")
        assert is_whole(estate, right)


@contextlib.contextmanager
def _clock_off(lab: Lab, edge: str, seconds: int) -> Iterator[Callable[[], str]]:
    """Yields what reads authd's log since then."""
    (began,) = lab[edge].run("date", "+%s").stdout.split()
    # nginx, too: authd tells it the moment until which it may keep a decision, and on a machine they share one clock.
    for unit in _TIMED:
        lab[edge].set_clock(unit, seconds)
    try:
        wait_until(lambda: Visitor(lab.network).ask(GRAFANA, edge=edge).status == 401, "authd answers")
        yield lambda: lab[edge].run("journalctl", "-u", "authd", "--since", f"@{began}", "--output", "cat").stdout
    finally:
        for unit in _TIMED:
            lab[edge].set_clock(unit, 0)
