"""What providers do that the operator should know, as log lines. Never with a token or a secret."""

from __future__ import annotations

import logging

from authd.errors import ProviderError

# A child of "authd": the composition root decides where it goes and how it looks. `fields` is what
# its JSON formatter prints.
_LOGGER = logging.getLogger("authd.idp")


def report(event: str, provider_id: str, *, level: int = logging.WARNING, **fields: str | int) -> None:
    """Log something about a provider."""
    _LOGGER.log(level, event, extra={"fields": {"idp": provider_id, **fields}})


def report_failure(event: str, provider_id: str, error: Exception) -> None:
    """Log why something that nobody waits for has failed."""
    if isinstance(error, ProviderError):
        report(event, provider_id, cause=error.cause, message=str(error))
    else:
        _LOGGER.error(event, extra={"fields": {"idp": provider_id}}, exc_info=error)
