"""What goes wrong: one class for each code of the library. The message says what to do about it."""

from __future__ import annotations

__all__ = [
    "BusyError",
    "CancelledError",
    "CorruptError",
    "ExistsError",
    "ExpiredError",
    "ForkError",
    "HoldfastError",
    "IllegalStateError",
    "InUseError",
    "InternalError",
    "InvalidArgumentError",
    "LockedError",
    "MalformedError",
    "MisuseError",
    "NewerVersionError",
    "NoVaultError",
    "NotAStoreError",
    "NotFoundError",
    "ProtocolError",
    "RefusedError",
    "RevokedError",
    "RolledBackError",
    "StorageError",
    "TooLargeError",
    "UnreachableError",
    "WrongKeyError",
]


class HoldfastError(Exception):
    """Anything that Holdfast reports. `code` is its stable name, as in the C++ and C interfaces."""

    code = "unknown"


class InvalidArgumentError(HoldfastError, ValueError):
    """The input breaks a documented limit or rule."""

    code = "invalid_argument"


class WrongKeyError(HoldfastError):
    """No key slot of the store opens with the key that was given."""

    code = "wrong_key"


class NotAStoreError(HoldfastError):
    """The file is something else."""

    code = "not_a_store"


class NewerVersionError(HoldfastError):
    """Written by a later Holdfast: update the app."""

    code = "newer_version"


class CorruptError(HoldfastError):
    """Stored bytes fail authentication or are missing."""

    code = "corrupt"


class MalformedError(HoldfastError, ValueError):
    """Bytes from outside break their format."""

    code = "malformed"


class RolledBackError(HoldfastError):
    """The store is older than its anchor says."""

    code = "rolled_back"


class LockedError(HoldfastError):
    """The store was locked: unlock it first."""

    code = "locked"


class ExpiredError(HoldfastError):
    """A token or code is older than it may be."""

    code = "expired"


class InUseError(HoldfastError):
    """Another process owns the store."""

    code = "in_use"


class NotFoundError(HoldfastError, LookupError):
    """A file, collection or conflict that was named does not exist."""

    code = "not_found"


class ExistsError(HoldfastError):
    """This would overwrite what is there."""

    code = "exists"


class TooLargeError(HoldfastError, ValueError):
    """A documented limit on size was passed."""

    code = "too_large"


class NoVaultError(HoldfastError):
    """The store is in no vault yet."""

    code = "no_vault"


class StorageError(HoldfastError):
    """The operating system refused to read, write or sync."""

    code = "io"


class UnreachableError(HoldfastError, ConnectionError):
    """The relay cannot be reached now: try again later."""

    code = "unreachable"


class BusyError(HoldfastError):
    """The relay asks to come back later."""

    code = "busy"


class RefusedError(HoldfastError):
    """The relay refuses this device or request."""

    code = "refused"


class RevokedError(HoldfastError):
    """This device was taken out of the vault; its store stays readable."""

    code = "revoked"


class ProtocolError(HoldfastError):
    """The relay answers what no honest relay of this version would."""

    code = "protocol"


class ForkError(HoldfastError):
    """The relay showed different histories to different devices."""

    code = "fork"


class CancelledError(HoldfastError):
    """The caller asked to stop."""

    code = "cancelled"


class IllegalStateError(HoldfastError):
    """The states of sync have no such transition."""

    code = "illegal_state"


class MisuseError(HoldfastError):
    """A bug in the caller, such as the use of something closed."""

    code = "misuse"


class InternalError(HoldfastError):
    """A bug in Holdfast: please report the message."""

    code = "internal"


BY_CODE: dict[str, type[HoldfastError]] = {
    kind.code: kind for kind in HoldfastError.__subclasses__()
}
