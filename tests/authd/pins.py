"""A house in which people log in by a code, with a real mail server, and somebody who sits before a browser in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from authd.config.onetimepin import OneTimePinConfig
from authd.idp.onetimepin import OneTimePinProvider
from authd.in_force import Policies
from authd.limits import CodeLimits, LoginLimits
from authd.login_steps import AskAddress, AskCode, Client, Denied, Elsewhere, Redirect
from authd.metrics import Metrics
from authd.model import Facts
from authd.pin_login import PinLogin
from authd.pin_mails import PinMails
from authd.pin_outbox import PinOutbox
from authd.pin_requests import PinRequests
from authd.state.pin_rows import PinRows
from authd.worker import new_id
from tests.authd.house import TEAM, House
from tests.harness.smtp import MailServer, write_mail_settings

HOST = "grafana.example.com"
PROVIDER_ID = "guests"
CONFIG = """
team_domain: auth.example.com
secret_file: /nowhere
identity_providers:
  - id: guests
    type: onetimepin
    name: Code by mail
    mail: {server: localhost, sender: login@example.com}
  - {id: corp, type: oidc, issuer: "https://idp.example.com", client_id: authd}
applications:
  - id: grafana
    name: Grafana
    domains: [grafana.example.com]
    policies:
      - {name: Not Mallory, decision: deny, include: [{email: mallory@example.com}]}
      - {name: Staff, decision: allow, include: [{email_domain: example.com}, {email_domain: exämple.com}]}
  - id: wiki
    name: Wiki
    domains: [wiki.example.com]
    policies: [{name: By mail, decision: allow, include: [{login_method: guests}]}]
"""


@dataclass
class PinHouse:
    """The parts around the login by mail. `sleeps` says how long somebody wanted to wait."""

    house: House
    mail_server: MailServer
    settings: dict[str, Any] = field(default_factory=dict)
    sleeps: list[float] = field(default_factory=list)
    new_code: Callable[[int], str] | None = None

    def __post_init__(self) -> None:
        self.metrics = Metrics()
        self.provider = self.make_provider()
        self.house.providers[PROVIDER_ID] = self.provider
        self.pins, self.mails = self.make_worker()

    def make_provider(self, **mail_changes: Any) -> OneTimePinProvider:
        mail = write_mail_settings(self.mail_server, username=None, password_env=None)
        written = {"id": PROVIDER_ID, "type": "onetimepin", "mail": mail | mail_changes, **self.settings}
        config = OneTimePinConfig.model_validate(written, context={"base_dir": Path()})
        redirect_uri = f"https://{TEAM}/cdn-cgi/access/callback"
        return OneTimePinProvider(config, password=None, redirect_uri=redirect_uri, clock=self.house.clock)

    def make_worker(self) -> tuple[PinLogin, PinOutbox]:
        """The parts that each worker has of its own."""
        house = self.house
        policies = lambda: Policies(house.config, house.index, house.providers)  # noqa: E731
        limits = CodeLimits(house.store, clock=house.clock)
        self.rows = rows = PinRows(house.store, house.sealer)
        optional = {"new_code": self.new_code} if self.new_code else {}
        outbox = PinOutbox(policies=policies, rows=rows, metrics=self.metrics, clock=house.clock, sleep=self._sleep)
        mails = PinMails(
            policies=policies,
            records=house.records,
            rows=rows,
            limits=limits,
            outbox=outbox,
            clock=house.clock,
            new_id=new_id,
            **optional,
        )
        pins = PinLogin(
            policies=policies,
            login=house.login,
            attempts=house.attempts,
            requests=PinRequests(house.sealer, house.clock),
            records=house.records,
            rows=rows,
            mails=mails,
            login_limits=LoginLimits(house.store, limits=lambda: (1000, 1000, 60), clock=house.clock),
            code_limits=limits,
            metrics=self.metrics,
            clock=house.clock,
            new_id=new_id,
        )
        return pins, outbox

    async def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)

    def close(self) -> None:
        self.mails.close()
        self.provider.close()


@dataclass
class Visitor:
    """A browser, by its cookies on each host, and what was done with it last."""

    pin_house: PinHouse
    address: str = "192.0.2.1"
    jars: dict[str, dict[str, str]] = field(default_factory=dict)
    query: str = ""

    def client(self, host: str = TEAM) -> Client:
        header = "; ".join(f"{name}={value}" for name, value in self.jars.get(host, {}).items())
        return Client(Facts(ip_address(self.address)), "a browser", header)

    def keep(self, host: str, found: object) -> None:
        for line in getattr(found, "cookies", ()):
            name, _, value = line.partition(";")[0].partition("=")
            jar = self.jars.setdefault(host, {})
            jar.pop(name, None) if "Max-Age=0" in line else jar.update({name: value})

    async def begin(self, application_id: str = "grafana") -> AskAddress | AskCode | Elsewhere:
        """From the application to the page that asks for an address."""
        house = self.pin_house.house
        application = house.index.get_application(application_id)
        host = application.domains[0].host
        begun = house.login.begin(application, host, "/x?y=%26", self.client(host).cookie_header)
        self.keep(host, begun)
        started = await house.login.start(host, f"{urlsplit(begun.location).query}&idp={PROVIDER_ID}", self.client())
        self.keep(TEAM, started)
        assert isinstance(started, Redirect)
        self.query = urlsplit(started.location).query
        return self.show()

    def show(self, ending: str = "") -> AskAddress | AskCode | Elsewhere:
        return self.pin_house.pins.show(self.query + ending, self.client())

    async def ask(self, address: str, *, settle: bool = True) -> AskAddress | Redirect:
        found = await self.pin_house.pins.ask(self.query, address, self.client())
        self.keep(TEAM, found)
        if settle:
            await self.pin_house.mails.settle()
        return found

    async def resend(self) -> AskAddress | Redirect:
        found = await self.pin_house.pins.resend(self.query, self.client())
        self.keep(TEAM, found)
        await self.pin_house.mails.settle()
        return found

    async def type_code(self, code: str, *, key: str = "") -> AskAddress | AskCode | Redirect | Denied:
        found = await self.pin_house.pins.verify(self.query, code, key, self.client())
        self.keep(TEAM, found)
        return found

    async def redeem(self, location: str, host: str = HOST) -> Redirect:
        found = await self.pin_house.house.login.redeem(urlsplit(location).query, host, self.client(host))
        self.keep(host, found)
        return found


def wrong_code(code: str) -> str:
    """Another one of six digits."""
    return f"{(int(code) + 1) % 10**6:06d}"
