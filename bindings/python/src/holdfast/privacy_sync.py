"""Permission, anonymising, and sending to third parties; and the ledger of all of it."""

from __future__ import annotations

import dataclasses
import json
import threading
from typing import Any, Callable, Iterator, Mapping

from holdfast import _native as native
from holdfast._native import NULL, CancelFlag, Handle, lib
from holdfast.encrypted_storage import EncryptedLocalStore
from holdfast.errors import InvalidArgumentError

__all__ = [
    "DataAnonymizer",
    "Grant",
    "PrivacyFirstSync",
    "PrivacyLedger",
    "PrivacyPolicy",
    "SendResult",
]

_ACTION = "int(void*, const char*, hf_reply*)"
Action = Callable[[Any], Any]
Prompt = Callable[[dict[str, Any]], bool]


def _action(action: Action) -> Any:
    def act(_: Any, value: Any, reply: Any) -> int:
        native.reply(reply, action(json.loads(native.decode(value))))
        return 0

    return native.lasting(_ACTION, act, 1, raises=True)


class PrivacyPolicy(Handle):
    """What may leave for whom, and in what form: a dict, or JSON text. Ships with the app."""

    _close = "hf_privacy_policy_close"

    def __init__(self, policy: Mapping[str, Any] | str) -> None:
        given = native.text(policy) if isinstance(policy, str) else native.dump(policy)
        super().__init__(native.value_out("hf_privacy_policy**", lib.hf_privacy_policy_parse, given))

    @classmethod
    def none(cls) -> PrivacyPolicy:
        """Provides for nothing: enough to take permissions back."""
        policy = cls.__new__(cls)
        Handle.__init__(policy, native.value_out("hf_privacy_policy**", lib.hf_privacy_policy_none))
        return policy

    @property
    def version(self) -> int:
        return int(native.value_out("int64_t*", lib.hf_privacy_policy_version, self._pointer))

    @property
    def hash(self) -> str:
        return native.text_of(lib.hf_privacy_policy_hash, self._pointer)

    def app_store_report(self) -> Any:
        """What an app store's privacy form asks for."""
        return native.json_out(lib.hf_privacy_policy_app_store_report, self._pointer)


class DataAnonymizer(Handle):
    """Takes out of a document what identifies somebody; sends nothing. Without arguments: by the rules
    for the usual sensitive fields, by their names, at any depth."""

    _close = "hf_anonymizer_close"

    def __init__(self, policy: PrivacyPolicy | None = None, data_type: str | None = None) -> None:
        if (policy is None) != (data_type is None):
            raise InvalidArgumentError("a policy and a data type go together")
        given = NULL if policy is None else policy._pointer
        super().__init__(
            native.value_out(
                "hf_anonymizer**", lib.hf_anonymizer_open, given, native.text_or_null(data_type)
            )
        )

    def set_custom(self, name: str, action: Action) -> None:
        """For rules with the action "custom": gets the value, gives what leaves in its place (None: the
        field is dropped)."""
        made = _action(action)
        self._keep(made)
        native.check(lib.hf_anonymizer_set_custom(self._pointer, native.text(name), made, NULL))

    def anonymize(self, data: Any) -> Any:
        return native.json_out(lib.hf_anonymizer_anonymize, self._pointer, native.dump(data))

    def preview(self, data: Any) -> dict[str, Any]:
        """{"document", "changes": [{"path", "action", "before", "after"}]}"""
        shown: dict[str, Any] = native.json_out(
            lib.hf_anonymizer_preview, self._pointer, native.dump(data)
        )
        return shown


@dataclasses.dataclass(frozen=True)
class Grant:
    """A decision of the user. `state` is "in_force", "denied", "expired", "revoked" or "void"."""

    id: str
    data_type: str
    purpose: str
    destination: str
    policy_hash: str
    given_ms: int
    until_ms: int
    device: str
    state: str


@dataclasses.dataclass(frozen=True)
class SendResult:
    """`status` is "sent", "queued" or "refused"; then `reason` and `message` say why. True where it was
    sent or waits."""

    status: str
    reason: str
    message: str
    egress: str

    def __bool__(self) -> bool:
        return self.status != "refused"


class PrivacyFirstSync(Handle):
    """The only way by which data leaves for anybody but the user's own devices: with a permission in
    force at the moment of sending, anonymised, sealed to the destination, and on the record.

    `prompt` shows a request (a dict with "purpose_text", "destination", "preview", …) and returns
    True for the user's yes; without it every request is denied.
    """

    _close = "hf_privacy_close"

    def __init__(
        self,
        store: EncryptedLocalStore,
        policy: PrivacyPolicy | Mapping[str, Any] | str,
        prompt: Prompt | None = None,
    ) -> None:
        made = NULL
        self._asked = threading.local()

        def ask(_: Any, request: Any) -> int:
            try:
                return 1 if prompt and prompt(json.loads(native.decode(request))) is True else 0
            except BaseException as error:  # counts as no, and goes on to the caller
                asked.raised = error
                return 0

        asked = self._asked
        if prompt is not None:
            made = native.lasting("int(void*, const char*)", ask, 0)
        opened = policy if isinstance(policy, PrivacyPolicy) else PrivacyPolicy(policy)
        try:
            given = (store._pointer, opened._pointer, made, NULL)
            super().__init__(native.value_out("hf_privacy**", lib.hf_privacy_open, *given), store)
        finally:
            if opened is not policy:
                opened.close()
        self._keep(made)

    def set_custom(self, name: str, action: Action) -> None:
        made = _action(action)
        self._keep(made)
        native.check(lib.hf_privacy_set_custom(self._pointer, native.text(name), made, NULL))

    def request_sync_permission(
        self,
        data_type: str,
        purpose: str,
        *,
        destination: str | None = None,
        lifetime_days: int = 30,
        sample: Any = None,
        renew: bool = False,
    ) -> bool:
        """Whether the user permits it: asks unless there is a permission in force. Of the `sample` the
        prompt shows exactly what would be sent."""
        options = {"lifetime_days": lifetime_days, "sample": sample, "renew": renew}
        if destination is not None:
            options["destination"] = destination
        given = (native.text(data_type), native.text(purpose), native.dump(options))
        self._asked.raised = None
        granted = bool(native.value_out("bool*", lib.hf_privacy_request, self._pointer, *given))
        if self._asked.raised is not None:
            raise self._asked.raised
        return granted

    def grants(self) -> list[Grant]:
        """Every decision of the user, on any device, the latest first."""
        return [Grant(**grant) for grant in native.json_out(lib.hf_privacy_grants, self._pointer)]

    def revoke(self, data_type: str = "", purpose: str = "", destination: str = "") -> int:
        """Ends all permissions for this, on every device; what waits to be sent is destroyed. Empty
        texts stand for all. How many ended here."""
        given = (native.text(data_type), native.text(purpose), native.text(destination))
        return int(native.value_out("uint64_t*", lib.hf_privacy_revoke, self._pointer, *given))

    def export_grant(self, grant: Grant) -> dict[str, Any]:
        """In the words of ISO/IEC TS 27560."""
        record: dict[str, Any] = native.json_out(
            lib.hf_privacy_export_grant, self._pointer, native.text(grant.id)
        )
        return record

    def preview(
        self, data: Any, destination: str, *, data_type: str | None = None, purpose: str | None = None
    ) -> dict[str, Any]:
        """What the policy would make of it; sends nothing."""
        given = (native.dump(data), native.text(destination), *_use(data_type, purpose))
        shown: dict[str, Any] = native.json_out(lib.hf_privacy_preview, self._pointer, *given)
        return shown

    def sync_with_privacy(
        self, data: Any, destination: str, *, data_type: str | None = None, purpose: str | None = None
    ) -> SendResult:
        """Anonymises, seals, enters it in the ledger, and tries to send it. A refusal is a result."""
        given = (native.dump(data), native.text(destination), *_use(data_type, purpose))
        return SendResult(**native.json_out(lib.hf_privacy_send, self._pointer, *given))

    def send_queued(self, all: bool = False, cancel: CancelFlag | None = None) -> dict[str, int]:
        """Tries what waits and is due, or all of it: {"sent", "dropped", "waiting"}."""
        given = (all, native.flag_of(cancel))
        report: dict[str, int] = native.json_out(lib.hf_privacy_send_queued, self._pointer, *given)
        return report

    def queue(self) -> list[dict[str, Any]]:
        waiting: list[dict[str, Any]] = native.json_out(lib.hf_privacy_queue, self._pointer)
        return waiting

    def budget(self, data_type: str, purpose: str, destination: str) -> dict[str, str]:
        """Epsilon, as text: {"today", "lifetime", "spent_today", "spent"}."""
        given = (native.text(data_type), native.text(purpose), native.text(destination))
        left: dict[str, str] = native.json_out(lib.hf_privacy_budget, self._pointer, *given)
        return left


def _use(data_type: str | None, purpose: str | None) -> tuple[Any, Any]:
    return native.text_or_null(data_type), native.text_or_null(purpose)


class PrivacyLedger:
    """This device's record of everything that was asked, permitted and sent: append-only, a Merkle tree
    (RFC 9162). A head is a text that an app may keep elsewhere."""

    def __init__(self, store: EncryptedLocalStore) -> None:
        self._store = store

    def head(self) -> str:
        return native.text_of(lib.hf_ledger_head, self._store._pointer)

    def entries(self, first: int = 0) -> Iterator[dict[str, Any]]:
        """{"index", "entry", "payload", "salt", "commitment"}, in order, as of now."""
        texts: list[str] = []
        self._visit(texts, lib.hf_ledger_for_each, first)
        return (json.loads(text) for text in texts)

    def export_ndjson(self) -> list[str]:
        """One line for each entry, its proof beside it, then one for the head; no payloads."""
        lines: list[str] = []
        self._visit(lines, lib.hf_ledger_export)
        return lines

    def _visit(self, into: list[str], function: Any, *arguments: Any) -> None:
        def visit(_: Any, text: Any) -> int:
            into.append(native.decode(text))
            return 0

        callbacks = native.Callbacks()
        made = callbacks.make("int(void*, const char*)", visit, 1)
        callbacks.call(function, self._store._pointer, *arguments, made, NULL)

    def verify(self, known: str | None = None) -> str:
        """Computes all hashes again, and that the ledger continues the head `known`. Raises
        CorruptError. The head."""
        return native.text_of(lib.hf_ledger_verify, self._store._pointer, native.text_or_null(known))

    def prove_inclusion(self, index: int) -> list[str]:
        proof: list[str] = native.json_out(lib.hf_ledger_prove_inclusion, self._store._pointer, index)
        return proof

    def prove_consistency(self, old_size: int) -> list[str]:
        proof: list[str] = native.json_out(
            lib.hf_ledger_prove_consistency, self._store._pointer, old_size
        )
        return proof

    @staticmethod
    def check_inclusion(entry: Mapping[str, Any], head: str, proof: list[str]) -> bool:
        given = (native.dump(entry), native.text(head), native.dump(proof))
        return bool(native.value_out("bool*", lib.hf_ledger_check_inclusion, *given))

    @staticmethod
    def check_consistency(old_head: str, head: str, proof: list[str]) -> bool:
        given = (native.text(old_head), native.text(head), native.dump(proof))
        return bool(native.value_out("bool*", lib.hf_ledger_check_consistency, *given))

    def forget_payload(self, index: int) -> bool:
        """False where there is none. The entry and all proofs stay as they are."""
        given = (self._store._pointer, index)
        return bool(native.value_out("bool*", lib.hf_ledger_forget_payload, *given))
