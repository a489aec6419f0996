"""The vault: one user's devices, and the keys they share."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable

from holdfast import _native as native
from holdfast._native import NULL, CancelFlag, ffi, lib
from holdfast.encrypted_storage import EncryptedLocalStore

__all__ = ["Device", "Vault"]

_KEEP = "int(void*, const char*)"
KeepCode = Callable[[str], Any]


@dataclasses.dataclass(frozen=True)
class Device:
    """`state` is "active", "unconfirmed" or "revoked"; last_seen_ms is 0 where it never was."""

    id: str
    name: str
    kind: str
    added_by: str
    by_recovery: bool
    this_device: bool
    state: str
    last_seen_ms: int
    revoked_by: str


class Vault:
    """The vault that a store is in, or will be. One thread at a time; not inside a transaction.

    A `keep` gets a new recovery code, which is kept nowhere else: to be written down. Where it
    raises, nothing has happened.
    """

    def __init__(self, store: EncryptedLocalStore) -> None:
        self._store = store

    @property
    def _pointer(self) -> Any:
        return self._store._pointer

    def exists(self) -> bool:
        return bool(native.value_out("bool*", lib.hf_vault_exists, self._pointer))

    @property
    def id(self) -> str:
        return native.text_of(lib.hf_vault_id, self._pointer)

    def create(self, name: str, keep: KeepCode, kind: str | None = None) -> None:
        """Makes a vault with this store's device, called `name`, as its first."""
        label = (native.text(name), native.text_or_null(kind))
        self._with_code(lib.hf_vault_create, keep, self._pointer, *label)

    def use_relay(self, url: str, invitation: str | None = None) -> None:
        """HTTPS, or plain HTTP to loopback only. `invitation`: a code, where the relay asks for one."""
        code = native.text_or_null(invitation)
        native.check(lib.hf_vault_use_relay(self._pointer, native.text(url), code))

    def erase_from_relay(self) -> int | None:
        """Has the relay forget the vault, for all devices and for good. Stores keep what they have.
        Returns in how many days its backups forget it as well; None where the relay does not say."""
        days = ffi.new("int64_t *")
        native.check(lib.hf_vault_erase_from_relay(self._pointer, days))
        return None if days[0] < 0 else int(days[0])

    @property
    def relay(self) -> str | None:
        return native.text_out(lib.hf_vault_relay, self._pointer)

    def invite(
        self,
        show: Callable[[str], Any],
        confirm: Callable[[str, str, str], bool],
        *,
        scanned: bool = False,
        cancel: CancelFlag | None = None,
    ) -> Device:
        """Lets one other device in while both are there. `show` gets the code to type (or to scan);
        `confirm` gets the other's name, kind and fingerprint, which it must show, too. Where one of
        them raises, `cancel` is set."""
        callbacks, out = native.Callbacks(), ffi.new("char**")

        def show_code(_: Any, code: Any) -> None:
            show(native.decode(code))

        def ask(_: Any, name: Any, kind: Any, fingerprint: Any) -> int:
            answer = confirm(native.decode(name), native.decode(kind), native.decode(fingerprint))
            return 1 if answer is True else 0

        with _ending(cancel) as flag:
            # Where one of them raises, nobody is waited for any more.
            show_c = callbacks.make("void(void*, const char*)", flag.guard(show_code))
            ask_c = callbacks.make("int(void*, const char*, const char*, const char*)", flag.guard(ask), 0)
            try:
                callbacks.call(
                    lib.hf_vault_invite, self._pointer, scanned, show_c, ask_c, NULL, flag.pointer, out
                )
                return Device(**native.loads_out(out))
            finally:
                lib.hf_free(out[0])

    def invite_ticket(self, lifetime_ms: int = 60 * 60 * 1000) -> str:
        """A code by which one other device may join later: hand it over as you would the data."""
        return native.text_of(lib.hf_vault_invite_ticket, self._pointer, lifetime_ms)

    def join(
        self,
        code: str,
        name: str,
        kind: str | None = None,
        *,
        relay: str | None = None,
        show_fingerprint: Callable[[str], Any] | None = None,
        cancel: CancelFlag | None = None,
    ) -> None:
        """Enters a vault by what invite or invite_ticket gave there. A typed code needs the `relay`."""
        callbacks = native.Callbacks()
        show = NULL
        if show_fingerprint is not None:

            def tell(_: Any, fingerprint: Any) -> None:
                assert show_fingerprint is not None
                show_fingerprint(native.decode(fingerprint))

            show = callbacks.make("void(void*, const char*)", tell)
        label = (native.text(name), native.text_or_null(kind), native.text_or_null(relay))
        given = (native.text(code), *label, show, NULL, native.flag_of(cancel))
        callbacks.call(lib.hf_vault_join, self._pointer, *given)

    @staticmethod
    def check_join(code: str, name: str, kind: str | None = None, *, relay: str | None = None) -> None:
        """Raises what join() raises for its arguments alone, before a store is made for them."""
        label = (native.text(name), native.text_or_null(kind), native.text_or_null(relay))
        native.check(lib.hf_vault_check_join(native.text(code), *label))

    @staticmethod
    def check_recover(code: str, relay: str, name: str, kind: str | None = None) -> None:
        label = (native.text(relay), native.text(name), native.text_or_null(kind))
        native.check(lib.hf_vault_check_recover(native.text(code), *label))

    def devices(self) -> list[Device]:
        """In the order they entered; those that were taken out, too. As of the last sync."""
        return [Device(**device) for device in native.json_out(lib.hf_vault_devices, self._pointer)]

    def refresh(self) -> None:
        """Asks the relay who is in."""
        native.check(lib.hf_vault_refresh(self._pointer))

    def find_device(self, name: str) -> Device:
        """By its name, or by the first digits of its id."""
        return Device(**native.json_out(lib.hf_vault_find_device, self._pointer, native.text(name)))

    def rename(self, device: Device, name: str, kind: str | None = None) -> None:
        label = (native.text(name), native.text_or_null(kind))
        native.check(lib.hf_vault_rename(self._pointer, native.text(device.id), *label))

    def revoke(self, device: Device, keep: KeepCode | None = None) -> None:
        """Takes it out, for good, and changes the vault's key. `keep` is needed where it knows the
        recovery code."""
        self._with_code(lib.hf_vault_revoke, keep, self._pointer, native.text(device.id))

    def rotate_key(self) -> None:
        native.check(lib.hf_vault_rotate_key(self._pointer))

    @property
    def epoch(self) -> int:
        """How often the key was changed."""
        return int(native.value_out("uint32_t*", lib.hf_vault_epoch, self._pointer))

    @property
    def recovery_set_by(self) -> str:
        return native.text_of(lib.hf_vault_recovery_set_by, self._pointer)

    def replace_recovery_code(self, keep: KeepCode) -> None:
        self._with_code(lib.hf_vault_replace_recovery_code, keep, self._pointer)

    def recover(self, code: str, relay: str, name: str, keep: KeepCode, kind: str | None = None) -> None:
        """Enters the vault when every device is lost: this one becomes its only one."""
        given = (native.text(code), native.text(relay), native.text(name), native.text_or_null(kind))
        self._with_code(lib.hf_vault_recover, keep, self._pointer, *given)

    def _with_code(self, function: Any, keep: KeepCode | None, *arguments: Any) -> None:
        callbacks = native.Callbacks()
        keep_c = NULL
        if keep is not None:

            def keep_code(_: Any, code: Any) -> int:
                assert keep is not None
                keep(native.decode(code))
                return 0

            keep_c = callbacks.make(_KEEP, keep_code, 1)
        callbacks.call(function, *arguments, keep_c, NULL)


class _ending:
    """A flag that is set where a callback raises."""

    def __init__(self, given: CancelFlag | None) -> None:
        self._flag = given or CancelFlag()
        self._is_own = given is None

    def __enter__(self) -> _ending:
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_own:
            self._flag.close()

    @property
    def pointer(self) -> Any:
        return self._flag._pointer

    def guard(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except BaseException:
                self._flag.set()
                raise

        return guarded
