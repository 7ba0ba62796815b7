"""Fetching: bounded in time and size, polite, and never trusting a status line alone."""

from ipranges.fetch.http import Fetched, Fetcher, HttpLimits
from ipranges.fetch.source import FetchedEdition, fetch_source

__all__ = ["FetchedEdition", "Fetched", "Fetcher", "HttpLimits", "fetch_source"]
