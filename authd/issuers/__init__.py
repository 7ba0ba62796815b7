"""Tokens of other issuers: whose keys we read, and what we believe of what they sign.

`key_source` keeps one issuer's keys, `access_tokens` judges what an Access edge says about a visitor (an application
that only verifies). Nothing here decides who may do what, and nothing here ever signs.
"""

from authd.issuers.issuers import Issuers, VerifiedForeignToken

__all__ = ["Issuers", "VerifiedForeignToken"]
