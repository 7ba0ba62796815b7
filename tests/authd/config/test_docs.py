"""The documentation has every key and every selector, with the default and the sentence of the code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from authd.config import parse_config, render_json_schema
from authd.config.selectors import NOT_BUILT_SELECTORS, SELECTORS

DOCS = Path(__file__).parents[3] / "docs"
SCHEMA = render_json_schema()
SECTIONS = {"Config": SCHEMA, **{name: section for name, section in SCHEMA["$defs"].items() if "properties" in section}}


def render_default(section: dict[str, Any], key: str) -> str:
    if key in section.get("required", []):
        return "required"
    value = section["properties"][key]["default"]
    if value == {}:
        return "see below"
    if value in (None, "", []):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`[{', '.join(value)}]`" if isinstance(value, list) else f"`{value}`"


def render_row(section: dict[str, Any], key: str) -> str:
    return f"| `{key}` | {render_default(section, key)} | {section['properties'][key]['description']} |"


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_stands_in_the_docs_with_its_default_and_its_sentence(name: str) -> None:
    text = (DOCS / "configuration.md").read_text()
    rows = [render_row(SECTIONS[name], key) for key in SECTIONS[name]["properties"]]
    assert "\n".join(rows) in text, "\n" + "\n".join(rows)


@pytest.mark.parametrize("key", SELECTORS)
def test_every_selector_stands_in_the_docs_with_its_sentence(key: str) -> None:
    text = (DOCS / "policies.md").read_text()
    assert f"| `{key}` |" in text
    assert f"| {SELECTORS[key].sentence} |" in text


@pytest.mark.parametrize("key", sorted(NOT_BUILT_SELECTORS))
def test_selectors_that_are_not_built_are_named_as_such(key: str) -> None:
    assert f"`{key}`" in (DOCS / "policies.md").read_text()


def blocks(document: str) -> list[str]:
    parts = (DOCS / document).read_text().split("```yaml\n")[1:]
    return [part.partition("```")[0] for part in parts]


PAGES = ("configuration.md", "policies.md", *(f"providers/{page.name}" for page in (DOCS / "providers").glob("*.md")))


@pytest.mark.parametrize("text", [block for name in PAGES for block in blocks(name)])
def test_every_example_in_the_docs_is_accepted(text: str, tmp_path: Path) -> None:
    (tmp_path / "blocked.txt").write_text("198.51.100.0/24\n")
    whole = text if "team_domain:" in text else f"team_domain: auth.example.com\n{text}"
    assert parse_config(whole, source="docs", base_dir=tmp_path)
