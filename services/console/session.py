"""Who may use the console: a session is a signed cookie, made from the stack's key and never holding it.

A session begins with the key, asked for once, or with a link that `flywheel console` prints: it works once, for a
minute. Cookies are shared by all ports of a host, and so is what browsers take for one site: the cookie being
SameSite=Strict does not keep another page of this machine from posting forms in its user's name. Every form therefore
carries a token that only this session's pages know.
"""

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

COOKIE = "flywheel_console"
LASTS = 12 * 3600  # seconds
LINK_LASTS = 60  # seconds


@dataclass(frozen=True)
class Session:
    """One browser's session; `token` goes into its forms."""

    name: str
    token: str


class Sessions:
    """Begins sessions and knows them again; `now` gives seconds since the epoch."""

    def __init__(self, key: str, now: Callable[[], float] = time.time) -> None:
        self._key, self._now = key.encode(), now
        self._secret = hmac.digest(self._key, b"flywheel console", sha256)
        self._used: dict[str, float] = {}  # links, until when they would have been good

    def knows(self, key: str) -> bool:
        """Whether this is the stack's key."""
        return hmac.compare_digest(key.strip().encode(), self._key)

    def begin(self) -> str:
        """A cookie's value for a new session."""
        return self._signed("session", LASTS)

    def find(self, cookie: str | None) -> Session | None:
        """The session of a cookie, if it is one and still good."""
        if cookie is None or not self._good("session", cookie):
            return None
        return Session(cookie, self._mac("form", cookie))

    def fits(self, session: Session, token: str) -> bool:
        """Whether a form's token is of this session."""
        return hmac.compare_digest(token.encode(), session.token.encode())

    def link(self) -> str:
        """What a link carries to begin a session."""
        return self._signed("link", LINK_LASTS)

    def takes(self, link: str) -> bool:
        """Whether a link may begin a session: it is good, and was not used before."""
        self._used = {each: until for each, until in self._used.items() if until > self._now()}
        if not self._good("link", link) or link in self._used:
            return False
        self._used[link] = float(link.partition(".")[0])
        return True

    def _signed(self, what: str, lasts: float) -> str:
        said = f"{int(self._now() + lasts)}.{secrets.token_urlsafe(16)}"
        return f"{said}.{self._mac(what, said)}"

    def _good(self, what: str, signed: str) -> bool:
        said, _, mac = signed.rpartition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(what, said).encode()):
            return False
        return float(said.partition(".")[0]) > self._now()

    def _mac(self, what: str, said: str) -> str:
        return hmac.new(self._secret, f"{what}\n{said}".encode(), sha256).hexdigest()
