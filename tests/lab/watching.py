"""People who keep asking at both edges while something happens: those who may, and those who may not.

What must hold whatever happens: nobody is served who may not be, and nobody who may is told to log in again. No answer,
or one that says that something is out of order (5xx), is no breach.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.lab.estate import ALICE, BOB, EDGES, GRAFANA, MALLORY, REVOKED_WITHIN_SECONDS, WIKI
from tests.lab.machines import Lab, wait_until
from tests.lab.visitors import Visitor, is_served

_PAUSE_SECONDS = 0.2
NO_ANSWER = 0


@dataclass
class Watch:
    """`seen` counts by who asked, at which edge, and what came of it."""

    lab: Lab
    member: Visitor
    intruders: dict[str, Visitor]
    seen: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)
    excused: str = ""
    _began: float = 0.0
    _is_over: threading.Event = field(default_factory=threading.Event)

    def count(self, edge: str, *, served: bool) -> int:
        """The member's requests at an edge that were served, or that were not."""
        return sum(
            n
            for (who, where, status), n in self.seen.items()
            if (who, where) == ("member", edge) and (status == 200) == served
        )

    @contextlib.contextmanager
    def going_on(self, *, excused: str = "") -> Iterator[None]:
        """Until the block ends; then fails if there was a breach, or if the member is not served everywhere again.

        At an `excused` edge the member may be told to log in, and is in again afterwards all the same.
        """
        self.excused = excused
        self._began = time.monotonic()
        askers = [("member", self.member), *self.intruders.items()]
        threads = [threading.Thread(target=self._keep_asking, args=(*each, edge)) for each in askers for edge in EDGES]
        self._is_over.clear()
        for thread in threads:
            thread.start()
        try:
            yield
            wait_until(self.is_member_served, f"{ALICE.account} is served everywhere again", seconds=120)
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join(60)
        assert self.breaches == [], (self.breaches, sorted(self.seen.items()))
        asked = {(who, edge) for who, edge, status in self.seen if status != NO_ANSWER}
        assert asked == {(who, edge) for who, _ in askers for edge in EDGES}, "somebody never got an answer"

    def is_member_served(self) -> bool:
        """At each edge, by each application."""
        asker = Visitor(self.lab.network).take_over(self.member)
        with contextlib.suppress(OSError):
            return all(is_served(asker.ask(url, edge=edge)) for url in (GRAFANA, WIKI) for edge in EDGES)
        return False

    def _keep_asking(self, who: str, visitor: Visitor, edge: str) -> None:
        asker = Visitor(self.lab.network).take_over(visitor)
        while not self._is_over.is_set():
            for url in (GRAFANA, WIKI):
                self._ask(who, asker, url, edge)
                self._is_over.wait(_PAUSE_SECONDS)

    def _ask(self, who: str, asker: Visitor, url: str, edge: str) -> None:
        try:
            answer = asker.ask(url, edge=edge)
        except OSError:
            self.seen[who, edge, NO_ANSWER] += 1
            return
        self.seen[who, edge, answer.status] += 1
        is_refused = answer.status < 500 and not is_served(answer)
        if is_served(answer) if who != "member" else is_refused and edge != self.excused:
            after = time.monotonic() - self._began
            self.breaches.append(f"{after:.1f} s: {who} at {edge}, {url}: {answer.status} {answer.text[:300]}")


def is_whole(lab: Lab, *edges: str) -> bool:
    """Whether people log in at each of these edges, and are served by every application there."""
    visitors = [Visitor(lab.network, edge) for edge in edges]
    try:
        return all(is_served(each.log_in(ALICE, GRAFANA)) and is_served(each.open(WIKI)) for each in visitors)
    except (OSError, AssertionError):
        return False


def begin_watch(lab: Lab) -> Watch:
    """Alice is the member. Nobody, Mallory, and Bob, whose session was revoked, are those who may not pass."""
    wait_until(lambda: is_whole(lab, *EDGES), "everything is whole", seconds=120)
    alice, bob, mallory = (Visitor(lab.network) for _ in range(3))
    for visitor, person in ((alice, ALICE), (bob, BOB)):
        visitor.log_in(person, GRAFANA, edge="edge1")
        assert is_served(visitor.open(WIKI, edge="edge2"))
    lab["edge2"].run("authd", "sessions", "revoke", "--person", str(BOB.claims["email"]))
    # One answer would not do: each worker hears of it by itself, and nginx may have kept what was decided before.
    time.sleep(REVOKED_WITHIN_SECONDS)
    assert {bob.ask(url, edge=edge).status for url in (GRAFANA, WIKI) for edge in EDGES} == {401}
    assert mallory.log_in(MALLORY, edge="edge2").status == 403
    return Watch(lab, alice, {"nobody": Visitor(lab.network), "bob": bob, "mallory": mallory})
