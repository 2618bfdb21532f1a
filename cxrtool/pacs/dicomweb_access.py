"""The way to a DICOMweb server: its address, who we are there, TLS, and what failed in words."""

import os
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth

from cxrtool.core.errors import UsageError
from cxrtool.pacs.delivery import DestinationError, TransientError
from cxrtool.pacs.trust import Trust, tls_reason

TOKEN, USER, PASSWORD = (f"CXRTOOL_DICOMWEB_{name}" for name in ("TOKEN", "USER", "PASSWORD"))
"""Variables of the environment: what is on a command line, everybody on the machine can read."""
BUSY = frozenset({408, 425, 429})
"""Answers that a later request may not get, besides all from 500 on."""
LASTING = frozenset({501, 505})
"""Of those from 500 on, what will be the same later."""
JSON = frozenset({"application/dicom+json", "application/json"})


class _Bearer(AuthBase):
    """A token; as a header of the session, requests replaces it by what is in ~/.netrc."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


class _Trusting(HTTPAdapter):
    """Trusts whom it is told to, whatever the environment says (REQUESTS_CA_BUNDLE)."""

    def __init__(self, trust: Trust) -> None:
        super().__init__()
        self.trust = trust

    def send(self, *given: Any, **options: Any) -> requests.Response:
        if self.trust.authorities is not None:
            options["verify"] = str(self.trust.authorities)
        if self.trust.certificate is not None:
            own = [str(one) for one in (self.trust.certificate, self.trust.key) if one is not None]
            options["cert"] = own[0] if len(own) == 1 else tuple(own)
        return super().send(*given, **options)


@dataclass(frozen=True, kw_only=True)
class DicomWebAccess:
    """A DICOMweb server, by the address of its services: `https://HOST/dicom-web`."""

    url: str
    trust: Trust | None
    """None: as the system does."""
    timeout: float
    """Seconds to wait for a connection, and for each piece of an answer."""
    credentials: AuthBase | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """As messages call it."""
        return self.url

    def session(self) -> requests.Session:
        """A session that says who we are."""
        made = requests.Session()
        made.auth = self.credentials
        if self.trust is not None:
            made.mount("https://", _Trusting(self.trust))
        return made

    def get(
        self,
        session: requests.Session,
        below: str,
        query: Sequence[tuple[str, str]] = (),
        accept: str = "application/dicom+json",
        *,
        stream: bool = False,
    ) -> requests.Response:
        """What the server answers to a question, whatever its status.

        Args:
            session: of `session`.
            below: what is asked for, such as `studies`.
            query: keys and values; a key may be there several times.
            accept: what the answer may hold.
            stream: whether the answer's body is read later, piece by piece.

        Raises:
            TransientError, DestinationError: there is no answer.
        """
        try:
            return session.get(
                f"{self.url}/{below}",
                params=list(query),
                headers={"Accept": accept},
                timeout=self.timeout,
                stream=stream,
            )
        except requests.RequestException as error:
            raise self.failure(error) from None

    def failure(self, error: requests.RequestException) -> DestinationError:
        """A request without an answer, in words."""
        inner = list(_within(error))
        tls = next((one for one in inner if isinstance(one, ssl.SSLError)), None)
        if tls is not None:
            return DestinationError(f"{self.url}: {tls_reason(tls)}")
        if isinstance(error, requests.exceptions.Timeout):
            return TransientError(f"{self.url} did not answer within {self.timeout:g} s")
        if isinstance(error, requests.exceptions.ChunkedEncodingError):
            return TransientError(f"{self.url} broke off in the middle of an answer")
        if isinstance(error, requests.ConnectionError):
            reasons = (one.strerror for one in inner if isinstance(one, OSError) and one.strerror)
            why = next(reasons, "it broke the connection off")
            return TransientError(f"{self.url} cannot be reached ({why})")
        return DestinationError(f"{self.url} cannot be asked ({type(error).__name__})")

    def check(self, answer: requests.Response, service: str) -> None:
        """Refuse an answer that does not do what was asked.

        Args:
            answer: any below 400 passes, unless it sends us elsewhere.
            service: what was asked for, such as STOW-RS.

        Raises:
            TransientError: a later request may get another answer.
            DestinationError: a setting is wrong, or this is not the service.
        """
        status = answer.status_code
        if status < 300:
            return
        said = f"{self.url} answers {status} ({answer.reason})"
        if status < 400:
            raise DestinationError(f"{said}: it is elsewhere, at {answer.headers.get('Location')}")
        if status in BUSY or (status >= 500 and status not in LASTING):
            raise TransientError(said, _seconds(answer.headers.get("Retry-After")))
        if status in (401, 403, 407):
            raise DestinationError(f"{said}: {self._who_we_are()}")
        if status in (404, 405, 501):
            raise DestinationError(
                f"{said}: there is no {service}; name the address under which DICOMweb is, such as "
                f"{_origin(self.url)}/dicom-web"
            )
        raise DestinationError(said)

    def _who_we_are(self) -> str:
        if self.credentials is None:
            return (
                f"say who you are in the environment, with {TOKEN}, or with {USER} and {PASSWORD}"
            )
        kind = TOKEN if isinstance(self.credentials, _Bearer) else f"{USER} and {PASSWORD}"
        return f"it does not take what {kind} says"


def dicomweb_access(
    url: str,
    *,
    trust: Trust | None,
    timeout: float,
    environment: Mapping[str, str] = os.environ,
) -> DicomWebAccess:
    """A server by its address, with what the environment says of us.

    Raises:
        UsageError: not such an address, one with a password in it, or contradictory credentials.
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # its port is no number
        known = False
    if not known:
        raise UsageError(f"{_without_user(url)!r} is not an address: write https://HOST/dicom-web")
    if "@" in parts.netloc:
        raise UsageError(
            f"{_without_user(url)}: an address with a password in it would be seen by others: say "
            f"it in the environment, as {USER} and {PASSWORD}"
        )
    if parts.query or parts.fragment:
        raise UsageError(f"{url}: name the address under which DICOMweb is, without ? and #")
    if trust is not None:
        if parts.scheme == "http":
            raise UsageError(f"{url} is without TLS: certificates go with https://")
        trust.context()
    return DicomWebAccess(
        url=url.rstrip("/"), trust=trust, timeout=timeout, credentials=_credentials(environment)
    )


def _credentials(environment: Mapping[str, str]) -> AuthBase | None:
    token, user, password = (environment.get(name, "") for name in (TOKEN, USER, PASSWORD))
    if token and (user or password):
        raise UsageError(f"{TOKEN} and {USER} are both set: which of them is meant?")
    if bool(user) != bool(password):
        raise UsageError(f"{USER} and {PASSWORD} go together: one of them is not set")
    if any(not letter.isprintable() for letter in token + user + password):
        raise UsageError(f"{TOKEN if token else USER} has a line break or the like in it")
    if token:
        return _Bearer(token)
    return HTTPBasicAuth(user.encode(), password.encode()) if user else None


def media_type(answer: requests.Response) -> str:
    """What an answer holds, without parameters."""
    return str(answer.headers.get("Content-Type") or "").partition(";")[0].strip().lower()


def _without_user(url: str) -> str:
    """An address as a message may show it."""
    return re.sub(r"//[^/]*@", "//", url)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _seconds(text: str | None) -> float | None:
    """What Retry-After asks for; a date is not looked at."""
    return float(text) if text and text.isascii() and text.isdigit() else None


def _within(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it: urllib3 wraps what the system says, and requests that."""
    inner = [*error.args, getattr(error, "reason", None), error.__cause__, error.__context__]
    yield error
    for one in inner:
        if isinstance(one, BaseException):
            yield from _within(one)
