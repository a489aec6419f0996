import asyncio
import pathlib
import queue
import threading
import typing

import pytest
from conftest import KEY, Collector
from test_patterns import policy

import holdfast
from holdfast import ConflictResolver, EncryptedLocalStore, IncrementalSync, SyncEngine, Vault

Pair = tuple[EncryptedLocalStore, EncryptedLocalStore]


def test_conflicts_by_a_relay(pair: Pair) -> None:
    phone, laptop = pair
    ConflictResolver(phone).set_policy("records", "$.v", "user_choice")
    ConflictResolver(phone).set_policy("records", "$.w", "custom")
    phone.store("r", {"v": 1, "w": 1})
    here, there = IncrementalSync(phone), IncrementalSync(laptop)
    states: list[str] = []
    subscription = here.states.subscribe(lambda metadata: states.append(metadata.state))
    phases: list[str] = []
    assert here.get_local_changes()
    assert here.sync(lambda progress: phases.append(progress.phase)).state == "up_to_date"
    assert "sending" in phases and here.count_pending() == 0
    assert there.wait_for_news(10) in ("some", "unknown")
    there.sync()
    phone.patch("r", {"v": "phone", "w": "phone"})
    laptop.patch("r", {"v": "laptop", "w": "laptop"})
    pending: list[holdfast.Conflict] = []
    resolver = ConflictResolver(laptop)
    resolver.subscribe(pending.extend)
    resolver.set_custom("records", lambda conflict: "both" if conflict["path"] == "$.w" else None)
    here.sync()
    assert there.sync().state == "conflict"
    assert [conflict.path for conflict in pending] == ["$.v"]
    with pytest.raises(holdfast.InvalidArgumentError):
        resolver.pick(pending[0], 0)
    listed = resolver.conflicts(pending_only=True)
    assert there.states.get_pending_conflicts() == listed
    sides = [candidate["value"] for candidate in listed[0].candidates]
    assert sorted(sides) == ["laptop", "phone"]
    resolver.pick(listed[0], sides.index("phone"))
    assert resolver.settle() == 1 and resolver.count_pending() == 0
    there.sync()
    assert here.sync().state == "up_to_date"
    assert phone.retrieve("r") == laptop.retrieve("r") == {"v": "phone", "w": "both"}
    assert states[0] == "syncing" and states[-1] == "up_to_date"
    subscription.close()
    assert here.problems() == [] and here.progress().phase


def test_packages_from_outside(pair: Pair) -> None:
    there = IncrementalSync(pair[1])
    for bad in ([["x"]], ["?"], {"changes": [7]}, {"changes": 5}, {}, "text", [""] * 1000, ["?" * 80]):
        with pytest.raises(holdfast.MalformedError):
            there.apply_remote_changes(typing.cast(typing.Any, bad))
    assert there.apply_remote_changes(["A" * 80]) == (0, []) and len(there.rejected) == 1
    assert there.apply_remote_changes([]) == (0, []) and there.rejected == []


def test_a_store_in_no_vault_says_what_to_do(store: EncryptedLocalStore) -> None:
    with pytest.raises(holdfast.NoVaultError, match="vault"):
        IncrementalSync(store).prepare_sync_package()


def test_vault(pair: Pair, tmp_path: pathlib.Path, relay: str) -> None:
    phone, laptop = pair
    vault = Vault(phone)
    assert vault.exists() and len(vault.id) == 64 and vault.relay == relay
    other = vault.find_device("laptop")
    assert not other.this_device and [device.name for device in vault.devices()] == ["phone", "laptop"]
    vault.rename(other, "desk", "laptop")
    vault.rotate_key()
    codes: list[str] = []
    vault.replace_recovery_code(codes.append)
    with pytest.raises(ZeroDivisionError):
        vault.replace_recovery_code(lambda code: 1 / 0)
    vault.revoke(other, codes.append)
    assert vault.epoch >= 3 and isinstance(vault.recovery_set_by, str)
    vault.refresh()
    assert IncrementalSync(laptop).sync().error == "revoked"
    with EncryptedLocalStore(tmp_path / "tablet.hf", KEY) as tablet:
        with pytest.raises(holdfast.InvalidArgumentError):
            Vault(tablet).recover("no code", relay, "tablet", codes.append)
        Vault(tablet).recover(codes[-1], relay, "tablet", codes.append)
        assert Vault(tablet).id == vault.id


def test_inviting_by_a_typed_code(tmp_path: pathlib.Path, pair: Pair, relay: str) -> None:
    codes: queue.Queue[str] = queue.Queue()
    joined: list[typing.Any] = []

    def invite() -> None:
        joined.append(Vault(pair[0]).invite(codes.put, lambda name, kind, fingerprint: name == "tablet"))

    thread = threading.Thread(target=invite)
    thread.start()
    shown: list[str] = []
    with EncryptedLocalStore(tmp_path / "tablet.hf", KEY) as tablet:
        Vault(tablet).join(codes.get(), "tablet", relay=relay, show_fingerprint=shown.append)
    thread.join()
    assert joined[0].name == "tablet" and len(shown[0]) == 9
    with pytest.raises(ZeroDivisionError):  # nobody is waited for any more
        Vault(pair[0]).invite(lambda code: 1 / 0, lambda *peer: True)
    cancel = holdfast.CancelFlag()
    with pytest.raises(holdfast.CancelledError):
        Vault(pair[0]).invite(lambda code: cancel.set(), lambda *peer: True, cancel=cancel)


def test_engine_and_asyncio(pair: Pair) -> None:
    phone, laptop = pair

    async def app() -> list[str]:
        kinds: list[str] = []
        engine = SyncEngine(phone, coalesce_ms=0)
        async with engine.events() as events, engine.running():
            phone.store("a", {"n": 1})
            async for event in events:
                kinds.append(event["kind"])
                if event["kind"] == "state" and event["state"]["state"] == "up_to_date":
                    if engine.sync.count_pending() == 0:
                        break
        engine.close()
        return kinds

    assert "state" in asyncio.run(asyncio.wait_for(app(), 30))
    assert IncrementalSync(laptop).sync().applied >= 1 and laptop.retrieve("a") == {"n": 1}

    async def watch() -> list[int]:
        rows = []
        async with holdfast.changes(laptop, "SELECT id FROM records") as found:
            async for change in found:
                rows.append(change["rows"])
                if len(rows) == 3:
                    break
                await asyncio.to_thread(laptop.store, f"new{len(rows)}", {})
        return rows

    assert asyncio.run(asyncio.wait_for(watch(), 30)) == [1, 2, 3]
    engine = SyncEngine(laptop, coalesce_ms=0, watch=False)
    due = threading.Event()
    engine.on_due(due.set)
    assert engine.step() > 0
    due.clear()
    laptop.store("b", {})
    assert due.wait(5)
    engine.set_conditions("none", metered=True)
    engine.stop()
    engine.close()


def test_an_engine_that_fails_ends_what_waits_for_it(store: EncryptedLocalStore) -> None:
    async def app() -> None:
        async with SyncEngine(store).running():
            await asyncio.sleep(3600)

    with pytest.raises(holdfast.HoldfastError):
        asyncio.run(app())


def test_privacy(store: EncryptedLocalStore, collector: Collector) -> None:
    given = policy(collector)
    given["data_types"][0]["fields"]["/word"] = {"action": "custom", "function": "shout"}
    usage = {"model": "small", "word": "canary"}
    answers = [False, True]
    gate = holdfast.PrivacyFirstSync(store, holdfast.PrivacyPolicy(given), lambda request: answers.pop(0))
    use: dict[str, typing.Any] = {"data_type": "model_usage_stats", "purpose": "improve_model_quality"}
    gate.set_custom("shout", lambda word: word.upper()[:1])
    assert not gate.request_sync_permission(**use)
    assert gate.sync_with_privacy(usage, "model_improvement_server").reason == "no_permission"
    assert gate.request_sync_permission(**use, sample=usage, lifetime_days=2)
    assert gate.preview(usage, "model_improvement_server")["document"] == {"model": "small", "word": "C"}
    sent = gate.sync_with_privacy(usage, "model_improvement_server")
    assert sent.status == "sent" and sent
    assert "canary" not in collector.out.read_text()
    grant = next(grant for grant in gate.grants() if grant.state == "in_force")
    assert gate.export_grant(grant)
    assert gate.queue() == [] and gate.send_queued()["waiting"] == 0
    assert "spent" in gate.budget(**use, destination="model_improvement_server")
    ledger = holdfast.PrivacyLedger(store)
    head = ledger.verify()
    entries = list(ledger.entries())
    assert ledger.check_inclusion(entries[0], head, ledger.prove_inclusion(0))
    assert not ledger.check_inclusion(entries[1], head, ledger.prove_inclusion(0))
    assert gate.revoke("model_usage_stats") == 1 and ledger.verify(head) != head
    size = len(list(ledger.entries()))
    assert ledger.check_consistency(head, ledger.head(), ledger.prove_consistency(len(entries)))
    assert len(ledger.export_ndjson()) == size + 1
    assert any(ledger.forget_payload(entry["index"]) for entry in entries)
    assert not gate.sync_with_privacy(usage, "model_improvement_server")

    def fails(request: typing.Any) -> bool:
        raise KeyError("mine")

    with pytest.raises(KeyError):
        holdfast.PrivacyFirstSync(store, given, fails).request_sync_permission(**use)
    with pytest.raises(holdfast.InvalidArgumentError):
        holdfast.PrivacyPolicy({"holdfast_policy": 1})
    anonymizer = holdfast.DataAnonymizer(holdfast.PrivacyPolicy(given), "model_usage_stats")
    with pytest.raises(holdfast.InvalidArgumentError):
        anonymizer.anonymize({"word": "x"})
    anonymizer.set_custom("shout", lambda word: None)
    assert anonymizer.anonymize({"word": "x", "model": "m"}) == {"model": "m"}
    assert anonymizer.preview({"email": "x"})["changes"][0]["action"] == "drop"
