"""Metrics in Prometheus' format, summed over the workers.

The check counts into plain dictionaries (well under a microsecond); twice a second they are flushed into
prometheus-client's shared files (PROMETHEUS_MULTIPROC_DIR, set by `authd serve`), which any worker reads to answer
`/metrics`.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter as Tally
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from authd import __version__

_DECISION_BUCKETS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5)


class Metrics:
    """All of authd's metrics. Make it after the fork: the shared files are named by process."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        # And in no registry that a library shares with others.
        ours: dict[str, Any] = {"registry": registry}
        self._decisions = Counter("authd_decisions", "Decisions of the check", ("app", "outcome", "reason"), **ours)
        self._seconds = Histogram("authd_decision_seconds", "Time of one check", buckets=_DECISION_BUCKETS, **ours)
        self._logins = Counter("authd_logins", "Logins that ended", ("idp", "outcome"), **ours)
        self._code_mails = Counter("authd_code_mails", "Codes by mail that were asked for", ("idp", "outcome"), **ours)
        self._store_up = Gauge(
            "authd_store_up",
            "1 if the store answered the last poll",
            multiprocess_mode="livemin",
            **ours,
        )
        self._key_age = Gauge(
            "authd_signing_key_age_seconds",
            "Age of the key that signs",
            multiprocess_mode="livemax",
            **ours,
        )
        self._issuer_keys_age = Gauge(
            "authd_issuer_keys_age_seconds",
            "Age of the keys that another issuer published",
            ("issuer",),
            multiprocess_mode="livemax",
            **ours,
        )
        self._reload = Gauge(
            "authd_config_last_reload_successful",
            "1 if the last reload took",
            multiprocess_mode="livemin",
            **ours,
        )
        self._build = Gauge("authd_build_info", "Version", ("version",), multiprocess_mode="livemax", **ours)
        self._build.labels(version=__version__).set(1)
        self._reload.set(1)
        self._pending: Tally[tuple[str, str, str]] = Tally()
        self._bucket_counts = [0] * (len(_DECISION_BUCKETS) + 1)
        self._seconds_sum = 0.0

    def count_decision(self, app: str, outcome: str, reason: str, seconds: float) -> None:
        """Count one check. Not visible before the next `flush`."""
        self._pending[app, outcome, reason] += 1
        self._bucket_counts[bisect_left(_DECISION_BUCKETS, seconds)] += 1
        self._seconds_sum += seconds

    def count_login(self, idp: str, outcome: str) -> None:
        """Count one login that ended: `success`, `denied`, `failed`, `limited` or `unavailable`."""
        self._logins.labels(idp=idp, outcome=outcome).inc()

    def count_code_mail(self, idp: str, outcome: str) -> None:
        """Count one code that was asked for: `sent`, `failed`, or `not_sent` (not admitted, or too many)."""
        self._code_mails.labels(idp=idp, outcome=outcome).inc()

    def set_store_up(self, up: bool) -> None:
        """Say whether the store answered the last poll of this worker."""
        self._store_up.set(int(up))

    def set_signing_key_age(self, seconds: float) -> None:
        """Say how old the key is that signs now."""
        self._key_age.set(seconds)

    def set_issuer_keys_age(self, issuer: str, seconds: float) -> None:
        """Say how old the keys of another issuer are in this worker, infinite without any."""
        self._issuer_keys_age.labels(issuer=issuer).set(seconds)

    def set_reload_successful(self, successful: bool) -> None:
        """Say whether the last reload of the configuration took in this worker."""
        self._reload.set(int(successful))

    def flush(self) -> None:
        """Move what was counted into the shared files."""
        pending, self._pending = self._pending, Tally()
        counts, self._bucket_counts = self._bucket_counts, [0] * len(self._bucket_counts)
        seconds_sum, self._seconds_sum = self._seconds_sum, 0.0
        for (app, outcome, reason), count in pending.items():
            self._decisions.labels(app=app, outcome=outcome, reason=reason).inc(count)
        # What `observe` does, once for each bucket in place of once for each request: 5,000 calls of it would hold the
        # event loop for 20 ms.
        for bucket, count in zip(self._seconds._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        self._seconds._sum.inc(seconds_sum)

    def render(self) -> bytes:
        """The text for Prometheus: over all workers under `authd serve`, of this process alone otherwise."""
        self.flush()
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)
