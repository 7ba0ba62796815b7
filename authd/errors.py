"""Every error that authd raises, as one tree.

    AuthdError
    ├── ConfigError              the configuration file cannot be used; lists every mistake
    ├── SecretError              the secret file is missing, too open or malformed
    ├── SealError                a sealed value was not made by us, or for another place
    ├── TokenError               a token is not acceptable (code = a Reason)
    ├── KeyChangeError           a change of the signing keys was refused
    ├── ServiceTokenChangeError  a change of a service token was refused
    ├── SessionChangeError       an operator named no session, or too many
    ├── TunnelError              a change or a look at the tunnels of origins was refused
    ├── KeySetError              a published key set is not fit to be trusted
    ├── MalformedRequestError    nginx' headers about a request are missing, doubled or unreadable
    ├── StoreError
    │   ├── StoreUnavailableError    the store did not answer in time
    │   ├── StoreDamagedError        the store answered with something that cannot be
    │   └── StoreUnfitError          the store answers, and must not be used as it is set up
    ├── IssuerUnavailableError   the keys of another issuer cannot be had: an outage, never a denial
    ├── ProviderError            an identity provider ...
    │   ├── ProviderUnavailableError     ... did not answer, or not in time
    │   ├── ProviderRefusedError         ... answered, and said no (the person cancelled, for example)
    │   └── ProviderLiedError            ... answered with something that fails its checks
    ├── MailError                the mail server did not take a mail
    └── LoginError               a login cannot go on; carries what the visitor is told
        └── LoginLimitError          too many logins from one address or of one person

`code` is stable and meant for machines; `str(error)` is one sentence for the operator and
holds neither tokens nor secrets nor cookie values.
"""

from __future__ import annotations

from dataclasses import dataclass


class AuthdError(Exception):
    """Base of all errors that authd raises on purpose."""

    code = "error"


@dataclass(frozen=True, slots=True)
class ConfigMistake:
    """One mistake in the configuration file.

    `line` counts from 1 and is 0 where no line can be named; `key` is a dotted path such as
    `applications[2].policies[0].include[1]`; `allowed` may be empty.
    """

    line: int
    key: str
    message: str
    value: str = ""
    allowed: str = ""

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        value = f" (got {self.value})" if self.value else ""
        allowed = f"; allowed: {self.allowed}" if self.allowed else ""
        return f"{place}{self.key}: {self.message}{value}{allowed}"


class ConfigError(AuthdError):
    """Raised if a configuration cannot be used. `mistakes` lists all of them, in file order."""

    code = "config_invalid"

    def __init__(self, source: str, mistakes: tuple[ConfigMistake, ...]) -> None:
        self.source = source
        self.mistakes = mistakes
        listed = "\n".join(f"  {mistake}" for mistake in mistakes)
        super().__init__(f"{source}: {len(mistakes)} mistake(s)\n{listed}")


class SecretError(AuthdError):
    """Raised if the secret file is missing, readable by others, or not 32 bytes of base64 a line."""

    code = "secret_invalid"


class SealError(AuthdError):
    """Raised if a sealed value is forged, damaged, or was sealed for another kind or id."""

    code = "seal_broken"


class TokenError(AuthdError):
    """Raised if a token is not acceptable. `code` is one of `authd.model.Reason`'s token reasons."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class KeyChangeError(AuthdError):
    """Raised if an operator's change of the signing keys is refused; says what to do instead."""

    code = "key_change_refused"


class SessionChangeError(AuthdError):
    """Raised if an operator's word about sessions names nothing, or too much; says what to do instead."""

    code = "session_change_refused"


class TunnelError(AuthdError):
    """Raised if a command about tunnels is refused, or the edge cannot do it; says what to do instead."""

    code = "tunnel_refused"


class ServiceTokenChangeError(AuthdError):
    """Raised if an operator's change of a service token is refused; says what to do instead."""

    code = "service_token_change_refused"


class KeySetError(AuthdError):
    """Raised if a key set is not fit to be trusted as a whole (too large, no usable key, ...)."""

    code = "key_set_invalid"


class MalformedRequestError(AuthdError):
    """Raised if what nginx says about a request cannot be read. The request is refused."""

    code = "malformed_request"


class StoreError(AuthdError):
    """Base of the store's errors. None of them ever ends a session."""

    code = "store_error"


class StoreUnavailableError(StoreError):
    """Raised if the store did not answer within its deadline. An outage, never a denial."""

    code = "store_unavailable"


class StoreDamagedError(StoreError):
    """Raised if the store's content cannot be what we wrote (schema, type, integrity)."""

    code = "store_damaged"


class StoreUnfitError(StoreError):
    """Raised if a store must not be used as it is: it would throw away sessions, or it is not empty."""

    code = "store_unfit"


class IssuerUnavailableError(AuthdError):
    """Raised if nobody can say whether a token of another issuer is good. An outage, never a denial."""

    code = "issuer_unavailable"

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        super().__init__(f"the keys of {issuer} are missing or older than a day, and it does not answer")


class ProviderError(AuthdError):
    """Base of an identity provider's errors. `provider_id` names which; `cause` is a stable word.

    `sentence` is the error without the provider.
    """

    code = "provider_error"

    def __init__(self, provider_id: str, cause: str, message: str) -> None:
        self.provider_id = provider_id
        self.cause = cause
        self.sentence = message
        # Where a refresh failed after the provider had replaced the token: the only one that is good from now on.
        self.replaced_token: str | None = None
        super().__init__(f"identity provider {provider_id}: {message}")


class ProviderUnavailableError(ProviderError):
    """Raised if the provider did not answer, answered 5xx, or took longer than the deadline."""

    code = "provider_unavailable"


class ProviderRefusedError(ProviderError):
    """Raised if the provider answered with an OAuth error, such as `access_denied`."""

    code = "provider_refused"


class ProviderLiedError(ProviderError):
    """Raised if an answer of the provider fails a check (signature, issuer, nonce, shape, ...)."""

    code = "provider_lied"


class MailError(AuthdError):
    """Raised if the mail server did not take a mail. `cause` is a stable word; if `is_lasting`, it never will."""

    code = "mail_error"

    def __init__(self, cause: str, message: str, *, is_lasting: bool) -> None:
        self.cause = cause
        self.is_lasting = is_lasting
        super().__init__(message)


class LoginError(AuthdError):
    """Raised if a login attempt cannot go on.

    `code` is stable and is logged; `status` is the HTTP status of the page; `sentence` tells the
    visitor what happened; `return_url` (may be None) is where they can start again.
    """

    def __init__(self, code: str, status: int, sentence: str, return_url: str | None = None) -> None:
        self.code = code
        self.status = status
        self.sentence = sentence
        self.return_url = return_url
        super().__init__(sentence)


class LoginLimitError(LoginError):
    """Raised if there were too many logins. `kind` says of what, `retry_after_seconds` when to come back."""

    def __init__(self, kind: str, retry_after_seconds: int) -> None:
        self.kind = kind
        self.retry_after_seconds = retry_after_seconds
        super().__init__("too_many_logins", 429, "There were too many logins in a short time.")
