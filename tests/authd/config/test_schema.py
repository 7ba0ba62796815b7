"""The JSON Schema for editors agrees with the reader wherever a schema can."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import yaml

from authd.config import render_json_schema
from authd.config.document import parse_document
from tests.authd.config.samples import SAMPLE, application_with_rule, parse_values

SCHEMA = render_json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_it_is_a_schema_and_json() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


def test_the_sample_fits() -> None:
    VALIDATOR.validate(yaml.safe_load(SAMPLE))


@pytest.mark.parametrize(
    "rule",
    [
        {"email": "a@b.c"},
        {"email": {"email": "a@b.c"}},
        {"everyone": True},
        {"everyone": {}},
        {"everyone": None},
        {"ip": "10.0.0.0/8"},
        {"ip": {"ip": "10.0.0.0/8"}},
    ],
)
def test_both_forms_of_a_rule_fit(rule: Any) -> None:
    sections = {"team_domain": "auth.example.com", "applications": [application_with_rule(rule)]}
    VALIDATOR.validate(sections)
    assert parse_values(**sections)


@pytest.mark.parametrize(
    "text",
    [
        "workers: 1",
        "team_domain: 5",
        "team_domain: a\nunknown: 1",
        "team_domain: a\nworkers: '4'",
        "team_domain: a\ndecision_cache_seconds: 61",
        "team_domain: a\ngroups: [{name: x, include: [{emial: a@b.c}]}]",
        "team_domain: a\ngroups: [{name: x, include: [{email: a@b.c, ip: 10.0.0.1}]}]",
        "team_domain: a\ngroups: [{name: x, include: [everyone]}]",
        "team_domain: a\ngroups: [{name: x, include: [{everyone: false}]}]",
        "team_domain: a\ngroups: [{name: x, include: [{oidc: department}]}]",
        "team_domain: a\ngroups: [{name: x}]",
        "team_domain: a\napplications: [{id: x, domains: [x], aud: abc}]",
    ],
)
def test_what_an_editor_should_underline(text: str) -> None:
    assert list(VALIDATOR.iter_errors(parse_document(text).value))


def test_every_key_has_a_sentence() -> None:
    sections = [SCHEMA, *(section for section in SCHEMA["$defs"].values() if "properties" in section)]
    without = [
        f"{section['title']}.{key}"
        for section in sections
        for key, setting in section["properties"].items()
        if not setting.get("description", "").endswith(".")
    ]
    assert without == []
