"""Holdfast: an encrypted, offline-first store of JSON records that syncs between a user's devices
through a relay that can read nothing.

    with EncryptedLocalStore("notes.hf", Passphrase("correct horse battery staple")) as store:
        store.store("shopping", {"milk": 2})
        print(store.retrieve("shopping"))
"""

from holdfast._native import CancelFlag, Subscription, ffi, lib
from holdfast.conflict_resolution import Conflict, ConflictResolver, Resolution
from holdfast.encrypted_storage import (
    Anchor,
    EncryptedLocalStore,
    LiveQuery,
    Migration,
    RecordVersion,
    VersionedDocument,
    restore,
)
from holdfast import errors
from holdfast.errors import *  # noqa: F403: all of them are for apps
from holdfast.incremental_sync import Applied, IncrementalSync, SyncProgress, SyncResult
from holdfast.keys import Fernet, Passphrase, UserKey, generate_fernet_key, generate_recovery_code
from holdfast.privacy_sync import (
    DataAnonymizer,
    Grant,
    PrivacyFirstSync,
    PrivacyLedger,
    PrivacyPolicy,
    SendResult,
)
from holdfast.sync_engine import Events, SyncEngine, changes
from holdfast.sync_state_manager import SyncMetadata, SyncStateManager
from holdfast.vault import Device, Vault

__version__: str = ffi.string(lib.hf_library_version()).decode()

__all__ = [
    *errors.__all__,
    "Anchor",
    "Applied",
    "CancelFlag",
    "Conflict",
    "ConflictResolver",
    "DataAnonymizer",
    "Device",
    "EncryptedLocalStore",
    "Events",
    "Fernet",
    "Grant",
    "IncrementalSync",
    "LiveQuery",
    "Migration",
    "Passphrase",
    "PrivacyFirstSync",
    "PrivacyLedger",
    "PrivacyPolicy",
    "RecordVersion",
    "Resolution",
    "SendResult",
    "Subscription",
    "SyncEngine",
    "SyncMetadata",
    "SyncProgress",
    "SyncResult",
    "SyncStateManager",
    "UserKey",
    "Vault",
    "VersionedDocument",
    "changes",
    "generate_fernet_key",
    "generate_recovery_code",
    "restore",
]
