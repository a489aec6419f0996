"""What opens a store: the user's own secret."""

from __future__ import annotations

import pathlib
from typing import Callable, Optional, Union

from holdfast import _native as native
from holdfast._native import Handle, ffi, lib
from holdfast.errors import InvalidArgumentError

Lookup = Callable[[bytes], Optional[bytes]]


class UserKey(Handle):
    """A key, in memory of the library's that is wiped. Make one with a class method."""

    _close = "hf_key_close"

    @classmethod
    def passphrase(cls, passphrase: str | bytes | bytearray) -> UserKey:
        """Any text or bytes but none at all; derives its key with Argon2id."""
        given = passphrase.encode() if isinstance(passphrase, str) else passphrase
        octets = ffi.from_buffer(given)
        return cls(native.value_out("hf_key**", lib.hf_key_passphrase, octets, len(given)))

    @classmethod
    def raw(cls, key: bytes | bytearray) -> UserKey:
        """32 random bytes, such as a platform's key store gives; of a bytearray nothing is copied into
        Python's memory, so that you can wipe it."""
        return cls(native.value_out("hf_key**", lib.hf_key_raw, ffi.from_buffer("uint8_t[]", key), len(key)))

    @classmethod
    def fernet(cls, key: str | bytes) -> UserKey:
        """A Fernet key: 32 bytes in url-safe base64."""
        given = key if isinstance(key, str) else key.decode("ascii", "replace")
        return cls(native.value_out("hf_key**", lib.hf_key_fernet, native.text(given)))

    @classmethod
    def recovery_code(cls, code: str) -> UserKey:
        """A code for paper, as a person types it."""
        return cls(native.value_out("hf_key**", lib.hf_key_recovery_code, native.text(code)))

    @classmethod
    def exported(cls, text: str, password: str | bytes) -> UserKey:
        """What export_key_for_backup gave, and its password."""
        given = password.encode() if isinstance(password, str) else password
        return cls(native.value_out("hf_key**", lib.hf_key_exported, native.text(text), given, len(given)))

    @classmethod
    def from_file(cls, path: str | pathlib.PurePath) -> UserKey:
        """A file of 32 raw bytes, a Fernet key or a recovery code."""
        contents = pathlib.Path(path).read_bytes()
        return cls(native.value_out("hf_key**", lib.hf_key_from_file_contents, contents, len(contents)))

    @classmethod
    def callback(cls, lookup: Lookup) -> UserKey:
        """A platform's key store: gives the 32 bytes that belong to the 16 of a slot, or None. Called
        while a store is opened; must be safe on any thread."""

        def find(_: object, slot: object, secret: object) -> int:
            found = lookup(bytes(ffi.buffer(slot, 16)))
            if found is None or len(found) != 32:
                return 1
            ffi.memmove(secret, found, 32)
            return 0

        made = native.lasting("int(void*, const uint8_t*, uint8_t*)", find, 1, raises=True)
        key = cls(native.value_out("hf_key**", lib.hf_key_callback, made, native.NULL))
        _for_ever.append(made)  # stores that it opened may call it after it is closed
        return key

    @property
    def kind(self) -> str:
        """ "passphrase", "raw", "fernet", "recovery_code", "callback" or "exported"."""
        out = native.value_out("const char**", lib.hf_key_kind, self._pointer)
        return native.decode(out)


_for_ever: list[object] = []


class Passphrase:
    """A passphrase as a `user_key`: so that no forgotten one is taken for a key of another kind."""

    def __init__(self, passphrase: str | bytes) -> None:
        self._passphrase = passphrase

    def key(self) -> UserKey:
        return UserKey.passphrase(self._passphrase)

    def __repr__(self) -> str:
        return "Passphrase(…)"


KeyLike = Union[UserKey, Passphrase, bytes, bytearray, str]


def key_of(key: KeyLike) -> UserKey:
    """A Fernet key as text or bytes, 32 raw bytes, a Passphrase, or a UserKey."""
    if isinstance(key, UserKey):
        return key
    if isinstance(key, Passphrase):
        return key.key()
    if isinstance(key, (bytes, bytearray)) and len(key) == 32:
        return UserKey.raw(key)
    if isinstance(key, (str, bytes)) and len(key) == 44:
        return UserKey.fernet(key)
    raise InvalidArgumentError(
        "a user_key is a Fernet key, 32 raw bytes, or Passphrase('…'): this is none of them"
    )


def generate_fernet_key() -> str:
    """A new Fernet key: keep it as you would a passphrase."""
    return native.text_of(lib.hf_generate_fernet_key)


def generate_recovery_code() -> str:
    """A new recovery code: for paper, not for a device."""
    return native.text_of(lib.hf_generate_recovery_code)


class Fernet(Handle):
    """Fernet tokens, as other languages' libraries make and open them. The first key seals, any one
    opens."""

    _close = "hf_fernet_close"

    def __init__(self, *keys: str | bytes | UserKey) -> None:
        opened = [key if isinstance(key, UserKey) else UserKey.fernet(key) for key in keys]
        pointers = ffi.new("hf_key*[]", [key._pointer for key in opened])
        super().__init__(native.value_out("hf_fernet**", lib.hf_fernet_open, pointers, len(opened)))

    def encrypt(self, data: bytes) -> str:
        return native.text_of(lib.hf_fernet_encrypt, self._pointer, data, len(data))

    def decrypt(self, token: str | bytes, ttl: int | None = None) -> bytes:
        """Raises MalformedError where it is no token of these keys, ExpiredError where it is older
        than `ttl` seconds."""
        plain, size = ffi.new("uint8_t**"), ffi.new("size_t*")
        age = -1 if ttl is None else ttl
        native.check(lib.hf_fernet_decrypt(self._pointer, _token(token), age, plain, size))
        try:
            return bytes(ffi.buffer(plain[0], size[0]))
        finally:
            lib.hf_free(plain[0])

    def rotate(self, token: str | bytes) -> str:
        return native.text_of(lib.hf_fernet_rotate, self._pointer, _token(token))

    def timestamp(self, token: str | bytes) -> int:
        """When it was made, in seconds since 1970."""
        return int(native.value_out("int64_t*", lib.hf_fernet_timestamp, self._pointer, _token(token)))


def _token(token: str | bytes) -> bytes:
    return native.text(token if isinstance(token, str) else token.decode("ascii", "replace"))
