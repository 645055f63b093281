"""The TLS of the one port, which follows the authority while it is rotated.

People come without a certificate, agents with one of an authority that is known. A
context can't be made to believe less, so each handshake is handed the newest ones; what is
open stays as it is. The dates of agents' certificates are not looked at, and one of the
authority that was replaced last gets through: TLS would refuse without saying why. Whoever
believes a peer's certificate asks `Authority.issuer_of` and `out_of_date`, and refuses by name.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from coordinator.authority_files import PkiError
from coordinator.server_pair import SERVER_CERTIFICATE, SERVER_KEY
from protocol.messages import FIXED_SERVER_NAME

_NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, to which `ssl` gives no name

_log = logging.getLogger(__name__)


class ServerTls:
    """`context` is for listening; `refresh` makes it what the files are now."""

    def __init__(
        self, folder: Path, known: Callable[[], bytes], company: tuple[Path, Path] | None
    ) -> None:
        """`known` tells the certificates of all authorities whose agents may come, PEM.

        `company` is a (certificate chain, key) of its own for people and programs; whoever
        asks for `coordinator.ferryman.internal` still gets ours. Raises `PkiError`.
        """
        self._own_files = folder / SERVER_CERTIFICATE, folder / SERVER_KEY
        self._known = known
        self._company = company
        self._own = self._made(*self._own_files)
        self._theirs = self._made(*company) if company else None
        self.context = self._made(*self._own_files)
        self.context.sni_callback = self._choose

    def refresh(self) -> None:
        """Serve new connections with the server's pair and the authorities of now.

        Raises `PkiError`. A company's pair that can't be used any more stays as it was.
        """
        self._own = self._made(*self._own_files)
        if self._company is None:
            return
        try:
            self._theirs = self._made(*self._company)
        except PkiError as error:
            _log.warning("%s; the one from the start is served on", error)

    def _choose(self, link: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: object) -> None:
        for_agents = name is not None and name.lower() == FIXED_SERVER_NAME
        link.context = self._own if for_agents or self._theirs is None else self._theirs

    def _made(self, certificate: Path, key: Path) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_OPTIONAL
        context.num_tickets = 0  # no agent takes a session up again, and they cost a third
        context.verify_flags = ssl.VerifyFlags(context.verify_flags | _NO_CHECK_TIME)
        context.load_verify_locations(cadata=self._known().decode("ascii"))
        try:
            context.load_cert_chain(certificate, key, password=_no_passphrase)
        except (OSError, ValueError) as error:
            problem = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            raise PkiError(f"{certificate} with {key} can't be used: {problem}") from None
        return context


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase; one without is needed")
