"""The kinds of value that settings take: Python type, reader, and JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, PlainValidator, WithJsonSchema

from authd.config import durations, readers
from authd.config.authorities import Authorities
from authd.config.domains import DomainPattern
from authd.config.fields import require_text
from authd.config.rules import Rule
from authd.config.selectors import parse_rule, render_rule_schema

MAX_SESSION_SECONDS = 31 * 24 * 3600
# Another machine learns within a minute that a session is used.
MIN_IDLE_SECONDS = 5 * 60

_TEXT = {"type": "string"}
_DURATION = {"type": "string", "description": durations.ALLOWED}

Text = Annotated[str, PlainValidator(require_text), WithJsonSchema(_TEXT)]
Label = Annotated[str, PlainValidator(readers.read_label), WithJsonSchema(_TEXT)]
Identifier = Annotated[str, PlainValidator(readers.read_identifier), WithJsonSchema(_TEXT)]
Aud = Annotated[str, PlainValidator(readers.read_aud), WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{64}$"})]
Flag = Annotated[bool, PlainValidator(readers.read_flag), WithJsonSchema({"type": "boolean"})]
File = Annotated[Path, PlainValidator(readers.read_file), WithJsonSchema(_TEXT)]
GeoDatabase = Annotated[Path, PlainValidator(readers.read_geo_database), WithJsonSchema(_TEXT)]
NginxVariable = Annotated[str, PlainValidator(readers.read_nginx_variable), WithJsonSchema(_TEXT)]
DistinguishedName = Annotated[str, PlainValidator(readers.read_distinguished_name), WithJsonSchema(_TEXT)]
Environment = Annotated[str, PlainValidator(readers.read_environment_name), WithJsonSchema(_TEXT)]
Domain = Annotated[DomainPattern, PlainValidator(readers.read_domain), WithJsonSchema(_TEXT)]
TeamDomain = Annotated[str, PlainValidator(readers.read_team_domain), WithJsonSchema(_TEXT)]
Listen = Annotated[str, PlainValidator(readers.read_listen), WithJsonSchema(_TEXT)]
State = Annotated[str, PlainValidator(readers.read_state), WithJsonSchema(_TEXT)]
Issuer = Annotated[str, PlainValidator(readers.read_issuer), WithJsonSchema(_TEXT)]
MailServer = Annotated[str, PlainValidator(readers.read_mail_server), WithJsonSchema(_TEXT)]
Sender = Annotated[str, PlainValidator(readers.read_sender), WithJsonSchema(_TEXT)]
Tenant = Annotated[str, PlainValidator(readers.read_tenant), WithJsonSchema(_TEXT)]
Tenants = Annotated[tuple[Tenant, ...], AfterValidator(readers.require_different)]
TeamIssuer = Annotated[str, PlainValidator(readers.read_team_issuer), WithJsonSchema(_TEXT)]
AuthorityFile = Annotated[Authorities, PlainValidator(readers.read_authorities), WithJsonSchema(_TEXT)]
Origin = Annotated[str, PlainValidator(readers.read_origin), WithJsonSchema(_TEXT)]
Method = Annotated[str, PlainValidator(readers.read_method), WithJsonSchema(_TEXT)]
Header = Annotated[str, PlainValidator(readers.read_header_name), WithJsonSchema(_TEXT)]
CredentialHeader = Annotated[str, PlainValidator(readers.read_credential_header), WithJsonSchema(_TEXT)]
CookieName = Annotated[str, PlainValidator(readers.read_cookie_name), WithJsonSchema(_TEXT)]
PathPrefix = Annotated[str, PlainValidator(readers.read_path_prefix), WithJsonSchema(_TEXT)]
Workers = Annotated[
    int | str,
    PlainValidator(readers.read_workers),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 256}, {"const": "auto"}]}),
]
SessionDuration = Annotated[
    int, PlainValidator(readers.read_duration(1, MAX_SESSION_SECONDS)), WithJsonSchema(_DURATION)
]
Grace = Annotated[int, PlainValidator(readers.read_duration(0, 24 * 3600)), WithJsonSchema(_DURATION)]
IdleTimeout = Annotated[
    int, PlainValidator(readers.read_duration(MIN_IDLE_SECONDS, MAX_SESSION_SECONDS)), WithJsonSchema(_DURATION)
]
RefreshInterval = Annotated[int, PlainValidator(readers.read_refresh_interval), WithJsonSchema(_DURATION)]
Link = Annotated[str, PlainValidator(readers.read_link), WithJsonSchema(_TEXT)]
AuthorizationParameters = Annotated[
    Mapping[str, str],
    PlainValidator(readers.read_authorization_parameters),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
]
Window = Annotated[int, PlainValidator(readers.read_duration(1, 24 * 3600)), WithJsonSchema(_DURATION)]
CacheSeconds = Annotated[
    int,
    PlainValidator(readers.read_whole_number(0, 60)),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 60}),
]
Limit = Annotated[
    int,
    PlainValidator(readers.read_whole_number(1, 1_000_000)),
    WithJsonSchema({"type": "integer", "minimum": 1}),
]
MaxAge = Annotated[
    int,
    PlainValidator(readers.read_whole_number(-1, 86400)),
    WithJsonSchema({"type": "integer", "minimum": -1, "maximum": 86400}),
]
RuleValue = Annotated[Rule, PlainValidator(parse_rule), WithJsonSchema(render_rule_schema())]
Include = Annotated[tuple[RuleValue, ...], AfterValidator(readers.require_rules)]
Algorithm = Annotated[str, PlainValidator(readers.read_algorithm), WithJsonSchema({"enum": list(readers.ALGORITHMS)})]
Algorithms = Annotated[tuple[Algorithm, ...], AfterValidator(readers.require_entries)]
Audiences = Annotated[tuple[Text, ...], AfterValidator(readers.require_entries)]
TokenTypes = Annotated[tuple[Text, ...], AfterValidator(readers.require_entries)]
Domains = Annotated[tuple[Domain, ...], AfterValidator(readers.require_domains)]
Scopes = Annotated[tuple[Text, ...], AfterValidator(readers.require_openid)]
