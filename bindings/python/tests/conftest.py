"""A relay and a collector, as programs: BIN is the folder that holds them."""

import json
import os
import pathlib
import re
import subprocess
import typing

import pytest

from holdfast import EncryptedLocalStore, IncrementalSync, Vault

BIN = pathlib.Path(os.environ["BIN"])
KEY = bytes(range(32))


def serve(*command: object) -> tuple[subprocess.Popen[str], str]:
    """Starts a program that prints where it listens; its URL."""
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"listening on (\S+)", line):
            return process, "http://" + found[1]
    raise RuntimeError(f"{command} ended with {process.wait()}")


def end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.communicate()


@pytest.fixture(scope="session")
def relay(tmp_path_factory: pytest.TempPathFactory) -> typing.Iterator[str]:
    data = tmp_path_factory.mktemp("relay")
    process, url = serve(BIN / "holdfast-relay", "--listen", "127.0.0.1:0", "--data", data, "--quiet")
    yield url
    end(process)


class Collector:
    def __init__(self, folder: pathlib.Path) -> None:
        made = subprocess.run(
            [BIN / "holdfast-relay", "collect", "--new-key", folder / "key"],
            check=True, capture_output=True, text=True,
        )
        self.public_key: str = json.loads(made.stdout)["public_key"]
        self.out = folder / "received.ndjson"
        self.process, self.url = serve(
            BIN / "holdfast-relay", "collect", "--key", folder / "key", "--out", self.out,
            "--listen", "127.0.0.1:0",
        )

    def received(self) -> list[typing.Any]:
        return [json.loads(line) for line in self.out.read_text().splitlines()]


@pytest.fixture
def collector(tmp_path: pathlib.Path) -> typing.Iterator[Collector]:
    running = Collector(tmp_path)
    yield running
    end(running.process)


@pytest.fixture
def store(tmp_path: pathlib.Path) -> typing.Iterator[EncryptedLocalStore]:
    with EncryptedLocalStore(tmp_path / "store.hf", KEY) as opened:
        yield opened


@pytest.fixture
def pair(
    tmp_path: pathlib.Path, relay: str
) -> typing.Iterator[tuple[EncryptedLocalStore, EncryptedLocalStore]]:
    """A phone and a laptop in one vault."""
    with EncryptedLocalStore(tmp_path / "phone.hf", KEY) as phone:
        with EncryptedLocalStore(tmp_path / "laptop.hf", KEY) as laptop:
            vault = Vault(phone)
            vault.create("phone", lambda code: None)
            vault.use_relay(relay)
            Vault(laptop).join(vault.invite_ticket(), "laptop")
            for device in (laptop, phone):
                with IncrementalSync(device) as sync:
                    assert sync.sync().state == "up_to_date"
            yield phone, laptop
