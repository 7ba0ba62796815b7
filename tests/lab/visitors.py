"""People at the client's desk, who go to one edge or the other."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.harness.browser import Answer, Browser
from tests.harness.idp import Person
from tests.ipranges.namespaces import entered
from tests.lab.estate import CLIENT, GRAFANA, PROVIDER, SERVED_BY
from tests.lab.network import Network

_SCRIPT = (("Accept", "application/json"),)
_PROVIDER = f"https://{PROVIDER}/"


@dataclass
class Visitor:
    """One browser. `edge` is where the next request goes, as if a resolver had said so."""

    network: Network
    edge: str = "edge1"
    browser: Browser = field(init=False)

    def __post_init__(self) -> None:
        self.browser = Browser(443, source_address=self.network.address(CLIENT))

    def ask(self, url: str, *, edge: str = "") -> Answer:
        """One request as a script makes it: no redirect, and a 401 where nobody is logged in."""
        with self._seated(edge):
            return self.browser.request(url, headers=_SCRIPT)

    def open(self, url: str, *, edge: str = "") -> Answer:
        """As a person opens a page; redirects are followed, but not to the provider."""
        with self._seated(edge):
            return self.browser.visit(url, stop_at=_PROVIDER)

    def log_in(self, person: Person, url: str = GRAFANA, *, edge: str = "") -> Answer:
        """Open a page, log in at the provider, and come back; the page, or what else the login ended in."""
        begun = self.open(url, edge=edge)
        assert begun.location.startswith(_PROVIDER), (begun.status, begun.text[-600:])
        with entered(self.network.namespace(CLIENT)):
            address = self.network.address(CLIENT)
            provider = Browser(443, machine=address, source_address=address)
            page = provider.visit(begun.location, stop_at="https://auth.")
            assert 'name="account"' in page.text, (page.status, page.url, page.text[-400:])
            chosen = provider.request(page.url, method="POST", form={"account": person.account})
            back = provider.visit(chosen.location, stop_at="https://auth.").location
        return self.open(back, edge=edge)

    def take_over(self, other: Visitor) -> Visitor:
        """With the cookies of another, as who copied them."""
        self.browser.cookies = {host: dict(kept) for host, kept in other.browser.cookies.items()}
        return self

    @contextlib.contextmanager
    def _seated(self, edge: str) -> Iterator[None]:
        self.edge = edge or self.edge
        self.browser.machine = self.network.address(self.edge)
        self.browser.history.clear()
        with entered(self.network.namespace(CLIENT)):
            yield


def is_served(answer: Answer) -> bool:
    """Whether the application itself answered, and not somebody before it."""
    return (
        answer.status == 200
        and answer.text.startswith("{")
        and json.loads(answer.text).get("application") in (SERVED_BY.values())
    )
