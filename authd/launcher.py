"""The applications that a person may open, for the page at the root of the team host."""

from __future__ import annotations

from authd.in_force import Policies
from authd.login_steps import Client
from authd.model import Outcome, Session
from authd.policy.decide import decide


def list_open_applications(policies: Policies, session: Session, client: Client) -> list[tuple[str, str]]:
    """Name and address of every application that this person may open now, from here, that has an exact host, and that
    is to be listed."""
    facts = client.facts.about(session.identity)
    listed = {each.id for each in policies.config.applications if each.app_launcher_visible and not each.issuer}
    ours = [each for each in policies.index.applications if each.id in listed]
    admitted = [each for each in ours if decide(each, facts).outcome is Outcome.ALLOW]
    return [(each.name, url) for each in admitted if (url := policies.index.find_start_url(each))]
