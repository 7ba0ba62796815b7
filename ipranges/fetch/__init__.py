"""Fetching: bounded in time and size, polite, and never trusting a status line alone."""

from ipranges.fetch.http import Fetched, Fetcher, HttpLimits
from ipranges.fetch.source import FetchedEdition, fetch_source

__all__ = ["Fetched", "FetchedEdition", "Fetcher", "HttpLimits", "fetch_source"]
