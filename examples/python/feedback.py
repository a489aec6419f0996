"""Feedback on a model's answers, sent to its makers: only with the user's permission, without what says who they
are, and on the record. Usage: feedback.py FILE POLICY-FILE"""

import json
import pathlib
import sys
from typing import Any

from holdfast import EncryptedLocalStore, PrivacyFirstSync, PrivacyLedger, generate_fernet_key


def ask(request: dict[str, Any]) -> bool:
    # An app shows a dialogue here, with all of this, and returns what the user said.
    shown = [json.dumps(request["preview"][name]) for name in ("model", "latency_ms", "comment")]
    print(f"May {request['controller']} get this? {request['purpose_text']}: {shown[0]}, {shown[1]} ms, {shown[2]}")
    return True


def main(path: str, policy: str) -> None:
    usage_stats = {
        "model": "small-2",
        "latency_ms": 137,
        "comment": "Wrong. Ask me: ada@example.org",
        "email": "ada@example.org",
        "device_id": "A1B2-C3D4",
    }
    with EncryptedLocalStore(path, generate_fernet_key()) as store:
        privacy_sync = PrivacyFirstSync(store, policy, ask)
        if privacy_sync.request_sync_permission(
            data_type="model_usage_stats", purpose="improve_model_quality", sample=usage_stats
        ):
            result = privacy_sync.sync_with_privacy(data=usage_stats, destination="model_improvement_server")
            print(result.status)
        for entry in PrivacyLedger(store).entries():
            print(entry["index"], entry["entry"]["kind"])
        PrivacyLedger(store).verify()
        print(privacy_sync.revoke("model_usage_stats"), "permission ended")
        again = privacy_sync.sync_with_privacy(data=usage_stats, destination="model_improvement_server")
        print(f"{again.status}: {again.reason}")


if len(sys.argv) != 3:
    sys.exit("usage: feedback.py FILE POLICY-FILE")
main(sys.argv[1], pathlib.Path(sys.argv[2]).read_text())
