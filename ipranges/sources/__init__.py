"""Sources: which list stands where, and how it reads."""

from ipranges.sources.build import build_provider, fingerprint_source
from ipranges.sources.catalog import CATALOG
from ipranges.sources.provider import Attempt, Discovery, Limits, Provider

__all__ = ["CATALOG", "Attempt", "Discovery", "Limits", "Provider", "build_provider", "fingerprint_source"]
