"""authd's own tokens: issued in Cloudflare's shape, verified in full.

Two kinds, told apart by `type` (and `aud`): `app` opens one application, `org` is the session on the team host. Claims
as in reference/access-wire.md 2.2 and 2.4. The signature says who wrote a token; whether its session still lives is
asked elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from authd.errors import TokenError
from authd.frozen import quick_init
from authd.jose import UnverifiedToken, VerificationKey, parse_unverified_token, verify_signature
from authd.keys import SIGNING_ALGORITHM, Keyring, SigningKey
from authd.model import NO_ENDS, Ends, Reason, Session

APPLICATION = "app"
ORGANISATION = "org"
EVALUATION_SECONDS = 60
# Clocks of two edges may differ; a token that was issued "in the future" by more than this is refused.
CLOCK_LEEWAY_SECONDS = 60
# `custom` is kept small: the token travels in a cookie and in a header (Access trims it at roughly 1 KB too).
MAX_CUSTOM_BYTES = 1000


@quick_init
@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A token of ours whose signature, issuer, audience, type and times were right when it was verified.

    `known_ends` is what its issuer knew to have ended: whatever ended since then has ended this token, too.
    """

    session_id: str
    subject: str
    audience: str
    key_id: str
    expires_at: int
    issued_at: int
    known_ends: Ends = NO_ENDS


@dataclass(frozen=True, slots=True)
class MachineToken:
    """What an application is told of a machine. It is no credential: nobody gets in with it."""

    text: str
    key_id: str
    expires_at: int


class Tokens:
    """Issues and verifies. `keyring` is asked each time, so that a rotation needs no restart."""

    def __init__(
        self,
        *,
        issuer: str,
        keyring: Callable[[], Keyring],
        clock: Callable[[], float],
        learn_key: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """`learn_key` looks whether there is a key of that id by now; afterwards `keyring` has it, if there is."""
        self._issuer = issuer
        self._keyring = keyring
        self._clock = clock
        self._learn_key = learn_key
        self._verification_keys: dict[str, tuple[SigningKey, VerificationKey]] = {}

    def issue_application_token(
        self, session: Session, *, audience: str, expires_at: int, policy_id: str | None, known_ends: Ends = NO_ENDS
    ) -> str:
        """A token for one application; it never outlives its session. `expires_at` in Unix seconds.

        `known_ends` are the session's and the application's, as this worker knows them.
        """
        claims = self._claims(session, APPLICATION, audience, min(expires_at, session.ends_at))
        if policy_id:
            claims["policy_id"] = policy_id
        if any(known_ends):
            claims["ends"] = list(known_ends)
        custom = _trimmed(session.identity.claims)
        if custom:
            claims["custom"] = custom
        return self._sign(claims)

    def issue_evaluation_token(self, identity: Mapping[str, Any], *, evaluate_url: str, nonce: str) -> str:
        """What an outside evaluator is asked with (reference/access-wire.md 3.6). It opens nothing: its type is its
        own."""
        now = int(self._clock())
        claims = {
            "aud": evaluate_url,
            "exp": now + EVALUATION_SECONDS,
            "iat": now,
            "iss": self._issuer,
            "type": "external_evaluation",
            "nonce": nonce,
            "identity": dict(identity),
        }
        return self._sign(claims)

    def issue_organisation_token(self, session: Session) -> str:
        """The session on the team host. It opens no application: its audience is the issuer itself."""
        return self._sign(self._claims(session, ORGANISATION, self._issuer, session.expires_at))

    def issue_machine_token(self, name: str, *, audience: str, expires_at: int) -> MachineToken:
        """What an application is told of a machine, in the shape of reference/access-wire.md 2.3. `name` is its
        `common_name`. It names no session, and so opens nothing here."""
        key_id = self._keyring().signing_key(self._clock()).key_id
        claims = {
            "aud": audience,
            "common_name": name,
            "exp": expires_at,
            "iat": int(self._clock()),
            "iss": self._issuer,
            "sub": "",
            "type": APPLICATION,
        }
        return MachineToken(self._sign(claims), key_id, expires_at)

    async def read(self, unverified_text: str) -> UnverifiedToken:
        """What the `verify_…` take. Looks for its key if it is not known here, since another worker may have made it.

        Raises TokenError if the text is no token, StoreError if nobody can say whether there is such a key: the token
        is neither good nor bad then.
        """
        unverified = parse_unverified_token(unverified_text)
        key_id = unverified.key_id or ""
        if self._learn_key and self._keyring().find_key(key_id, self._clock()) is None:
            await self._learn_key(key_id)
        return unverified

    def verify_application_token(self, unverified: UnverifiedToken, audience: str) -> VerifiedToken:
        """Check everything but the session. Raises TokenError whose code is one of Reason's token reasons."""
        return self._verify(unverified, APPLICATION, audience)

    def verify_any_application_token(self, unverified: UnverifiedToken, knows: Callable[[str], bool]) -> VerifiedToken:
        """As `verify_application_token`, for whichever application that `knows` the audience of."""
        audience = unverified.claims.get("aud")
        wanted = audience[0] if isinstance(audience, list) and len(audience) == 1 else audience
        if not isinstance(wanted, str) or not knows(wanted):
            raise TokenError(Reason.TOKEN_AUDIENCE, "the token is for no application of ours")
        return self.verify_application_token(unverified, wanted)

    def verify_organisation_token(self, unverified: UnverifiedToken) -> VerifiedToken:
        """As `verify_application_token`, for the team host's session."""
        return self._verify(unverified, ORGANISATION, self._issuer)

    def still_verifies(self, token: VerifiedToken | MachineToken) -> bool:
        """Whether the key of a token that was verified or issued before still counts."""
        return self._keyring().find_key(token.key_id, self._clock()) is not None

    def _claims(self, session: Session, type_: str, audience: str, expires_at: int) -> dict[str, Any]:
        now = int(self._clock())
        claims: dict[str, Any] = {
            "aud": [audience],
            "exp": expires_at,
            "iat": now,
            "nbf": now,
            "iss": self._issuer,
            "type": type_,
            "identity_nonce": session.id,
            "sub": session.identity.subject,
            "country": session.country,
        }
        if session.identity.email:
            claims["email"] = session.identity.email
        return claims

    def _sign(self, claims: Mapping[str, Any]) -> str:
        key = self._keyring().signing_key(self._clock())
        headers = {"kid": key.key_id, "typ": "JWT"}
        return jwt.encode(dict(claims), key.private_key, algorithm=SIGNING_ALGORITHM, headers=headers)

    def _verify(self, unverified: UnverifiedToken, type_: str, audience: str) -> VerifiedToken:
        key = self._keyring().find_key(unverified.key_id or "", self._clock())
        if key is None:
            raise TokenError(Reason.TOKEN_KEY_UNKNOWN, "no key of ours has the token's key id")
        claims = verify_signature(unverified, self._verification_key_of(key))
        self._check_claims(claims, type_, audience)
        return VerifiedToken(
            session_id=claims["identity_nonce"],
            subject=claims["sub"],
            audience=audience,
            key_id=key.key_id,
            expires_at=claims["exp"],
            issued_at=claims["iat"],
            known_ends=_parse_ends(claims["ends"]) if "ends" in claims else NO_ENDS,
        )

    def _verification_key_of(self, key: SigningKey) -> VerificationKey:
        """Made once for each key: looking at the numbers of a key costs as much as a signature. Whether the key counts
        is for the keyring to say."""
        known = self._verification_keys.get(key.key_id)
        if known is None or known[0] is not key:
            known = key, VerificationKey(key.key_id, SIGNING_ALGORITHM, key.public_key)
            self._verification_keys[key.key_id] = known
        return known[1]

    def _check_claims(self, claims: Mapping[str, Any], type_: str, audience: str) -> None:
        now = self._clock()
        if claims.get("iss") != self._issuer:
            raise TokenError(Reason.TOKEN_ISSUER, "the token was issued by somebody else")
        if claims.get("type") != type_:
            raise TokenError(Reason.TOKEN_TYPE, f"the token is not of type {type_}")
        # Exactly one audience: a token that names two would open both.
        if claims.get("aud") not in ([audience], audience):
            raise TokenError(Reason.TOKEN_AUDIENCE, "the token is for another application")
        if not isinstance(claims.get("identity_nonce"), str) or not isinstance(claims.get("sub"), str):
            raise TokenError(Reason.TOKEN_MALFORMED, "the token names no session")
        issued_at, expires_at = claims.get("iat"), claims.get("exp")
        if not isinstance(issued_at, int):
            raise TokenError(Reason.TOKEN_MALFORMED, "the token does not say when it was issued")
        if not isinstance(expires_at, int) or expires_at <= now:
            raise TokenError(Reason.TOKEN_EXPIRED, "the token has expired")
        if max(claims.get("nbf", 0), issued_at) > now + CLOCK_LEEWAY_SECONDS:
            raise TokenError(Reason.TOKEN_NOT_YET_VALID, "the token is not valid yet; is a clock wrong?")


def _parse_ends(claim: Any) -> Ends:
    if not isinstance(claim, list) or len(claim) != len(NO_ENDS) or any(type(each) is not int for each in claim):
        raise TokenError(Reason.TOKEN_MALFORMED, "the token does not say what had ended when it was issued")
    return Ends(*claim)


def _trimmed(claims: Mapping[str, Any]) -> dict[str, Any]:
    """As many of the claims, smallest first, as fit into MAX_CUSTOM_BYTES; get-identity has them all."""
    kept: dict[str, Any] = {}
    for name in sorted(claims, key=lambda name: len(json.dumps(claims[name]))):
        if len(json.dumps({**kept, name: claims[name]})) <= MAX_CUSTOM_BYTES:
            kept[name] = claims[name]
    return kept
