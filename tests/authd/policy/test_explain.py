"""The explanation: what was looked at, in order, and what each said."""

from __future__ import annotations

import json
from pathlib import Path

from authd.config import parse_config
from authd.model import Outcome, Reason
from authd.policy import build_index, explain, render_explanation
from tests.authd.policy.samples import create_facts, create_index, create_person

INDEX = create_index(
    groups=[
        {
            "name": "engineers",
            "include": [{"email_domain": "example.com"}],
            "exclude": [{"email": "mallory@example.com"}],
        },
    ],
    applications=[
        {
            "id": "grafana",
            "domains": ["grafana.example.com"],
            "policies": [
                {
                    "name": "Engineers",
                    "decision": "allow",
                    "include": [{"email": "x@example.net"}, {"group": "engineers"}],
                },
                {"name": "Office", "decision": "bypass", "include": [{"ip": "192.0.2.0/24"}]},
            ],
        }
    ],
)


def test_the_text_reads_like_this() -> None:
    facts = create_facts(create_person(email="alice@example.com"), "198.51.100.1")
    text = render_explanation(explain(INDEX, host="grafana.example.com", path="/d/1", facts=facts))
    assert text == "\n".join(
        [
            "application: grafana",
            "bypass Office: no",
            "  include[0] ip: 192.0.2.0/24: no",
            "allow Engineers: yes",
            "  include[0] email: x@example.net: no",
            "  include[1] group: engineers: yes",
            "    include[0] email_domain: example.com: yes",
            "    exclude[0] email: mallory@example.com: no",
            "outcome: allow (policy_allow)",
            "decided by: policy 'Engineers', include[1] group: engineers",
        ]
    )


def test_what_cannot_be_said_before_a_login_is_told_as_such() -> None:
    facts = create_facts(None, "198.51.100.1")
    text = render_explanation(explain(INDEX, host="grafana.example.com", path="/", facts=facts))
    assert "allow Engineers: cannot say" in text
    assert text.endswith("outcome: login (no_credential)")


def test_only_what_was_looked_at_is_told() -> None:
    explanation = explain(INDEX, host="grafana.example.com", path="/", facts=create_facts(None, "192.0.2.1"))
    assert [step.text for step in explanation.steps] == ["Office"]
    assert explanation.decision.outcome is Outcome.BYPASS


def test_an_unknown_host_is_explained_as_one() -> None:
    explanation = explain(INDEX, host="other.example.com", path="/", facts=create_facts(None, "192.0.2.1"))
    assert explanation.decision.reason is Reason.APPLICATION_UNKNOWN
    assert render_explanation(explanation).startswith("application: none covers this host and path\n")


def test_the_json_holds_the_same() -> None:
    facts = create_facts(create_person(email="mallory@example.com"), "198.51.100.1")
    explanation = explain(INDEX, host="grafana.example.com", path="/", facts=facts)
    told = json.loads(json.dumps(explanation.to_json()))
    assert (told["application"], told["outcome"], told["reason"]) == ("grafana", "deny", "no_policy_matched")
    (office, engineers) = told["steps"]
    group = engineers["steps"][1]
    assert office["answer"] is False
    assert group["text"] == "group: engineers"
    assert [(step["place"], step["answer"]) for step in group["steps"]] == [("include[0]", True), ("exclude[0]", True)]


def test_the_explanation_in_the_docs_is_what_is_said() -> None:
    text = (Path(__file__).parents[3] / "docs" / "policies.md").read_text()
    first_example = text.split("```yaml\n")[1].partition("```")[0]
    config = parse_config(
        "team_domain: auth.example.com\n" + first_example, source="docs", base_dir=Path("/nonexistent")
    )
    facts = create_facts(create_person(email="alice@example.com"), "192.0.2.9")
    explanation = explain(build_index(config), host="grafana.example.com", path="/d/1", facts=facts)
    assert render_explanation(explanation) in text
