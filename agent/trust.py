"""Whose packages this host runs: `[packages] trusted_keys`. Without keys, anybody's.

With keys, a package needs a signature of one of them whose trusted comment names the very
service and version, so that another service's package, or another version's, can't be passed
off as this one. That is known before a byte of the package is taken; whether the bytes are the
signed ones, before the release gets its name. A release on disk counts only if it was taken in
that way, by a key that is still trusted, for the instance's own service.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.manifest import Signed
from agent.member_names import shown
from agent.minisign import PublicKey, Signature, SignatureError, new_prehash
from agent.ports import StepError
from agent.releases import Release

_SERVICE, _VERSION = "service", "version"


class Seal:
    """A package's signature whose comment holds; `check` tells whether its bytes do."""

    def __init__(self, signature: Signature, key: PublicKey, service: str) -> None:
        self._signature = signature
        self._key = key
        self._service = service
        self._prehash = new_prehash()

    def through(self, read: Callable[[], bytes]) -> Callable[[], bytes]:
        """`read`, with all that it returns looked at."""

        def looked_at() -> bytes:
            data = read()
            self._prehash.update(data)
            return data

        return looked_at

    def check(self) -> Signed:
        """Return who signed, once the whole package has passed. Raises `StepError`."""
        if not self._signature.package_holds(self._key, self._prehash.digest()):
            raise StepError(
                f"the signature by the key {self._key.key_id} is not of these bytes: "
                "the package, or its signature, was changed"
            )
        return Signed(self._key.text, self._service)


class Trust:
    """The keys of one agent."""

    def __init__(self, keys: Sequence[PublicKey] = ()) -> None:
        self._keys = {key.key_id: key for key in keys}

    @property
    def needs_signatures(self) -> bool:
        """Whether nothing unsigned may run."""
        return bool(self._keys)

    def seal(self, data: bytes, service: str, version: str) -> Seal:
        """Read the signature of a package that is to be `version` of `service`.

        Raises `StepError` unless a trusted key signed a comment that says so.
        """
        try:
            signature = Signature.parse(data)
            key = self._keys.get(signature.key_id)
            if key is None:
                raise SignatureError(
                    f"is by the key {signature.key_id}, which trusted_keys does not name"
                )
            if not signature.comment_holds(key):
                raise SignatureError(
                    f"has a trusted comment that the key {key.key_id} did not sign"
                )
            _check_comment(signature.comment, service, version)
        except SignatureError as error:
            raise StepError(f"the signature {error}") from None
        return Seal(signature, key, service)

    def distrust(self, release: Release, service: str) -> str:
        """Return why a release on disk may not be switched to for `service`; "" if it may."""
        if not self._keys:
            return ""
        signed, name = release.signed, f"the release {release.path.name} on disk"
        if signed is None:
            return f"{name} was taken in without a signature, and trusted_keys is set"
        if signed.key not in {key.text for key in self._keys.values()}:
            return f"{name} was signed by a key that trusted_keys does not name"
        if signed.service != service:
            return f"{name} was signed for the service {shown(signed.service)}, not {service}"
        return ""


def _check_comment(comment: bytes, service: str, version: str) -> None:
    try:
        text = comment.decode("utf-8")
    except UnicodeDecodeError:
        raise SignatureError("has a trusted comment that is not UTF-8") from None
    for name, needed in ((_SERVICE, service), (_VERSION, version)):
        said = [part for part in text.split() if part.startswith(f"{name}=")]
        if len(said) != 1:
            many = "more than one" if said else "no"
            raise SignatureError(
                f"has {many} {name}= in its trusted comment; sign with "
                f'-t "{_SERVICE}={service} {_VERSION}={version}"'
            )
        found = said[0].partition("=")[2]
        if not found or found != needed:
            raise SignatureError(f"is for the {name} {shown(found)}, not {needed}")
