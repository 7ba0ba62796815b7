"""One worker: its parts, made from a configuration and joined, and the loop that keeps them fresh."""

from __future__ import annotations

import asyncio
import secrets
import string
import time
from collections.abc import Callable
from pathlib import Path

from authd.access import Access
from authd.application_tokens import ApplicationTokens
from authd.attempts import Attempts
from authd.audit import log_event
from authd.config import Config, IdentityProviderConfig
from authd.countries import Address, Countries
from authd.credentials import Credentials
from authd.errors import AuthdError, StoreError
from authd.evaluations import Evaluations
from authd.identity_refresh import IdentityRefresh
from authd.in_force import Policies
from authd.issuers import Issuers
from authd.issuers.key_source import FETCH_SECONDS
from authd.keys import Keyring
from authd.limits import CodeLimits, LoginLimits, LogoutLimits
from authd.login import Login
from authd.logout import Logout
from authd.machine_tokens import MachineTokens
from authd.metrics import Metrics
from authd.model import Session
from authd.pin_login import PinLogin
from authd.pin_mails import PinMails
from authd.pin_outbox import PinOutbox
from authd.pin_requests import PinRequests
from authd.policy.index import build_index
from authd.providers import Providers, load_client_secret
from authd.sealing import Sealer
from authd.service_tokens import ServiceTokens
from authd.sessions import POLL_SECONDS, Sessions
from authd.shared_keyring import SharedKeyring
from authd.state.base import Store, Tombstone
from authd.state.pin_rows import PinRows
from authd.state.records import Records
from authd.state.service_token_rows import SERVICE_TOKEN_CHANGED, ServiceTokenRows
from authd.tokens import Tokens

_ALPHABET = string.ascii_letters + string.digits
_UPKEEP_SECONDS = 60
# A sweep removes a bounded number of rows, so that it holds no lock for long.
_MOST_SWEEPS = 50


def new_id(length: int) -> str:
    """Unguessable text of letters and digits, just under 6 bits each."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


class Worker:
    """The parts of one worker process. `start` and `run` belong to its event loop."""

    def __init__(
        self,
        config: Config,
        *,
        store: Store,
        sealer: Sealer,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        new_config: Callable[[], Config | None] = lambda: None,
        find_client_secret: Callable[[IdentityProviderConfig], str | None] = load_client_secret,
    ) -> None:
        """`new_config` is asked twice a second and gives a configuration that was loaded meanwhile, once.

        `find_client_secret` gives the secret that goes with a provider. Raises SecretError.
        """
        self.clock, self._monotonic = clock, monotonic
        self.store = store
        self.metrics = Metrics()
        self._new_config = new_config
        self._next_upkeep = monotonic() + _UPKEEP_SECONDS
        self._store_problem: str | None = None
        self._is_started = False
        self._refreshing: asyncio.Task[None] | None = None
        self.records = Records(store, sealer, on_broken=_report_broken_row, clock=clock)
        self._providers = Providers(
            store=store, records=self.records, clock=clock, find_client_secret=find_client_secret
        )
        self._issuers = Issuers(shared=self.records, may_fetch=self._may_fetch_keys, clock=clock, monotonic=monotonic)
        self._countries: Countries | None = None
        self._next_look_at_countries = monotonic() + _UPKEEP_SECONDS
        self._policies = self._derive_policies(config)
        self._join(config, sealer)

    def _join(self, config: Config, sealer: Sealer) -> None:
        """Make the two stories and what they share. Each part gets what it depends on, and nothing else."""
        self._keys = SharedKeyring(
            self.records,
            team_domain=config.team_domain,
            longest_token_seconds=lambda: self._policies.config.longest_token_seconds,
            clock=self.clock,
            monotonic=self._monotonic,
        )
        self.sessions = Sessions(
            self.store,
            self.records,
            clock=self.clock,
            monotonic=self._monotonic,
            outage_grace_seconds=config.store_outage_grace_seconds,
            idle_seconds=lambda: self._policies.config.idle_timeout or 0,
            on_other_end=self._follow_other_end,
            on_old_identity=self._note_old_identity,
        )
        self._identity_refresh = IdentityRefresh(
            policies=self.policies, sessions=self.sessions, records=self.records, clock=self.clock
        )
        self.service_tokens = ServiceTokens(
            ServiceTokenRows(self.store, sealer, on_broken=_report_broken_row),
            clock=self.clock,
            is_in_touch=lambda: self.sessions.is_in_touch,
        )
        self.tokens = Tokens(issuer=config.issuer, keyring=self._keys.get, clock=self.clock, learn_key=self._keys.learn)
        application_tokens = ApplicationTokens(self.tokens, ends_of=self.sessions.ends_of, clock=self.clock)
        self._join_access(config, application_tokens)
        self._join_login(sealer, application_tokens)

    def _join_access(self, config: Config, application_tokens: ApplicationTokens) -> None:
        """The first story."""
        self.access = Access(
            index=lambda: self._policies.index,
            credentials=Credentials(
                tokens=self.tokens,
                sessions=self.sessions,
                issuers=self._issuers,
                service_tokens=self.service_tokens,
                clock=self.clock,
            ),
            application_tokens=application_tokens,
            machine_tokens=MachineTokens(self.tokens, clock=self.clock),
            clock=self.clock,
            decision_cache_seconds=config.decision_cache_seconds,
        )

    def _join_login(self, sealer: Sealer, application_tokens: ApplicationTokens) -> None:
        """The second story."""
        attempts = Attempts(sealer, self.clock)
        limits = LoginLimits(self.store, limits=self._login_limits, clock=self.clock)
        self.login = Login(
            policies=self.policies,
            attempts=attempts,
            tokens=self.tokens,
            application_tokens=application_tokens,
            sessions=self.sessions,
            evaluations=Evaluations(self.tokens, self.sessions, clock=self.clock, new_id=new_id),
            records=self.records,
            limits=limits,
            clock=self.clock,
            new_id=new_id,
        )
        self.logout = Logout(
            policies=self.policies,
            sessions=self.sessions,
            records=self.records,
            limits=LogoutLimits(self.store, limits=self._login_limits, clock=self.clock),
            clock=self.clock,
        )
        self._join_pins(sealer, attempts, limits)

    def _join_pins(self, sealer: Sealer, attempts: Attempts, limits: LoginLimits) -> None:
        """The third story, which only those see who log in by a code."""
        code_limits = CodeLimits(self.store, clock=self.clock)
        rows = PinRows(self.store, sealer)
        self._pin_outbox = PinOutbox(policies=self.policies, rows=rows, metrics=self.metrics, clock=self.clock)
        mails = PinMails(
            policies=self.policies,
            records=self.records,
            rows=rows,
            limits=code_limits,
            outbox=self._pin_outbox,
            clock=self.clock,
            new_id=new_id,
        )
        self.pin_login = PinLogin(
            policies=self.policies,
            login=self.login,
            attempts=attempts,
            requests=PinRequests(sealer, self.clock),
            records=self.records,
            rows=rows,
            mails=mails,
            login_limits=limits,
            code_limits=code_limits,
            metrics=self.metrics,
            clock=self.clock,
            new_id=new_id,
        )

    def _note_old_identity(self, session: Session) -> None:
        self._identity_refresh.note(session)

    def _follow_other_end(self, tombstone: Tombstone) -> None:
        if tombstone.kind == SERVICE_TOKEN_CHANGED:
            self.service_tokens.follow(tombstone.id)
        else:
            self._keys.follow(tombstone)

    def policies(self) -> Policies:
        """The configuration, index and providers that count now."""
        return self._policies

    def public_origin(self, host: str) -> str:
        """`https://host[:port]` by the configuration that counts now."""
        return self._policies.index.public_origin(host)

    def keyring(self) -> Keyring:
        """The signing keys. Raises StoreUnavailableError until they could be read once."""
        return self._keys.get()

    def problems(self) -> list[str]:
        """What stands between this worker and being ready; empty if nothing does."""
        keys = [] if self._keys.is_loaded or not self._has_keys else ["signing keys not loaded"]
        return keys + ([self._store_problem] if self._store_problem else [])

    def suspect_store(self) -> None:
        """A call to the store has failed: look at the next round whether it takes a write, and not in a minute."""
        self._next_upkeep = self._monotonic()

    async def start(self) -> None:
        """Read the keys and begin to follow revocations. Raises StoreError; call again later."""
        try:
            await self.sessions.start()
            # From here on sessions may be remembered: no tombstone may be skipped by beginning again.
            self._is_started = True
            await self.upkeep()
        except StoreError as error:
            self._store_problem = str(error)
            self.suspect_store()
            raise

    async def run(self) -> None:
        """Follow revocations, new configurations and keys until cancelled. An outage is logged when it begins and
        ends."""
        was_up = not self.problems()
        while True:
            try:
                was_up = await self._run_once(was_up)
            except Exception as error:  # noqa: BLE001 - a loop that died would miss every revocation from then on
                log_event("error.unhandled", level="error", exc_info=True, error=type(error).__name__)
            await asyncio.sleep(POLL_SECONDS)

    async def _run_once(self, was_up: bool) -> bool:
        self._take_new_config()
        self._follow_countries()
        self._follow_issuers()
        self._store_problem = problem = await self._follow_store()
        is_up = problem is None
        if is_up != was_up:
            log_event("store.up" if is_up else "store.down", level="info" if is_up else "error", message=problem)
        self.metrics.set_store_up(is_up)
        self.metrics.flush()
        return is_up

    async def _follow_store(self) -> str | None:
        """One round with the store; what went wrong, or None."""
        try:
            if not self._is_started:
                await self.start()
            await self.sessions.poll()
            await self.service_tokens.flush()
            await self._refresh_identities()
            await self._pin_outbox.adopt()
            if self._keys.is_stale and self._has_keys:
                await self._keys.refresh()
            if self._monotonic() >= self._next_upkeep:
                self._next_upkeep = self._monotonic() + _UPKEEP_SECONDS
                await self.upkeep()
        except StoreError as error:
            self.suspect_store()
            return str(error)
        return None

    async def _refresh_identities(self) -> None:
        """Beside the poll, not in it: providers take their time, and revocations must be followed meanwhile."""
        if self._refreshing is None or self._refreshing.done():
            if self._refreshing is not None and not self._refreshing.cancelled():
                error = self._refreshing.exception()
                if error and not isinstance(error, StoreError):
                    log_event("error.unhandled", level="error", error=type(error).__name__, path="identity refresh")
            self._refreshing = asyncio.create_task(self._identity_refresh.run())

    async def upkeep(self) -> None:
        """Once a minute: keys that others rotated, rows that nobody needs any more. Raises StoreError.

        The row that it writes shows that the store takes writes: a full disk still answers every poll.
        """
        now = int(self.clock())
        if self._has_keys:
            keyring = await self._keys.refresh()
            self.metrics.set_signing_key_age(now - keyring.signing_key(now).signs_from)
        await self.store.put("upkeep", "probe", b"", expires_at=now + 2 * _UPKEEP_SECONDS)
        for _ in range(_MOST_SWEEPS):
            if not await self.store.sweep(now=now):
                break

    async def stop(self) -> None:
        """The end of the worker: mails that were promised go out or stay in the store, then `close`."""
        await self._pin_outbox.stop()
        self.close()

    def close(self) -> None:
        """Let go of the connections to providers and issuers; the store is its opener's to close."""
        self._pin_outbox.close()
        self._providers.close()
        self._issuers.close()

    def _take_new_config(self) -> None:
        try:
            config = self._new_config()
            if config is not None:
                self._policies = self._derive_policies(config)
                # Tokens may live longer from now on, and so must the key that signs them.
                self._keys.is_stale = True
                log_event("config.loaded", applications=len(config.applications))
                self.metrics.set_reload_successful(True)
        except Exception as error:  # noqa: BLE001 - revocations must be followed whatever is wrong with a new configuration
            # The master has validated it, so this is unforeseen. The running configuration stays.
            self.metrics.set_reload_successful(False)
            sentence = str(error) if isinstance(error, AuthdError) else type(error).__name__
            log_event("config.refused", level="error", message=sentence)

    def _derive_policies(self, config: Config) -> Policies:
        countries = self._open_countries(config.geo_database)
        find_country = countries.find if countries else _unknown_country
        index = build_index(config, find_country)
        providers = self._providers.select(config)
        self._issuers.select(config)
        return Policies(config, index, providers, countries)

    def _open_countries(self, path: Path | None) -> Countries | None:
        """The database that counts now: the one that stands there, else the one that was good before.

        A worker is never stopped by a file that went bad: until it is mended, nobody's country is known.
        """
        old = self._countries
        if path is None or (old and old.is_of(path)):
            self._countries = old if path else None
            return self._countries
        try:
            self._countries = Countries(path)
            log_event("geo.loaded", path=str(path))
        except ValueError as error:
            log_event("geo.unusable", level="error", path=str(path), message=str(error))
        return self._countries

    def _follow_countries(self) -> None:
        """Once a minute: a database that was replaced counts without a reload."""
        path = self._policies.config.geo_database
        if path is None or self._monotonic() < self._next_look_at_countries:
            return
        self._next_look_at_countries = self._monotonic() + _UPKEEP_SECONDS
        if not (self._countries and self._countries.is_of(path)):
            self._policies = self._derive_policies(self._policies.config)

    def _follow_issuers(self) -> None:
        self._issuers.tend()
        for issuer, age_seconds in self._issuers.ages_seconds().items():
            self.metrics.set_issuer_keys_age(issuer, age_seconds)

    async def _may_fetch_keys(self, name: str) -> bool:
        """Once in FETCH_SECONDS for each key set, over all workers. Raises StoreError: no permission, and no denial."""
        now = int(self.clock())
        return await self.store.count("issuer_keys_fetch", name, now=now, window_seconds=FETCH_SECONDS) == 1

    @property
    def _has_keys(self) -> bool:
        """Whether anything here is signed: without a team host nothing is."""
        return bool(self._policies.config.team_domain)

    def _login_limits(self) -> tuple[int, int, int]:
        limits = self._policies.config.login_rate_limit
        return limits.per_address, limits.per_person, limits.window_seconds


def _unknown_country(address: Address) -> str:
    return ""


def _report_broken_row(kind: str) -> None:
    log_event("store.broken_row", level="error", kind=kind, message="a row was not sealed by us; treated as missing")
