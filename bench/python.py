#!/usr/bin/env python3
"""Storing and retrieving from Python, beside sqlite3 with cryptography.fernet doing the same the plain way: one
row a document, a Fernet token of its JSON, a commit each. After `pip install ./bindings/python`:

    python3 bench/python.py [FOLDER]

Prints medians of five runs of 2,000 documents of about 400 bytes, and their ratio. Both sync each commit to disk."""

import json
import pathlib
import random
import sqlite3
import statistics
import sys
import tempfile
import time

from cryptography.fernet import Fernet

from holdfast import EncryptedLocalStore, generate_fernet_key

COUNT = 2000


class Plain:
    def __init__(self, path, key):
        self.fernet = Fernet(key)
        self.database = sqlite3.connect(path)
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = FULL")
        self.database.execute("CREATE TABLE encrypted_data (id TEXT PRIMARY KEY, data BLOB)")

    def store(self, key, data):
        token = self.fernet.encrypt(json.dumps(data).encode())
        self.database.execute("INSERT OR REPLACE INTO encrypted_data VALUES (?, ?)", (key, token))
        self.database.commit()

    def retrieve(self, key):
        row = self.database.execute("SELECT data FROM encrypted_data WHERE id = ?", (key,)).fetchone()
        return json.loads(self.fernet.decrypt(row[0]))

    def find(self, least):
        rows = self.database.execute("SELECT data FROM encrypted_data")
        return sum(json.loads(self.fernet.decrypt(row[0]))["n"] >= least for row in rows)

    def close(self):
        self.database.close()


class Sealed:
    def __init__(self, path, key):
        self.opened = EncryptedLocalStore(path, key)
        self.store, self.retrieve, self.close = self.opened.store, self.opened.retrieve, self.opened.close

    def find(self, least):
        sql = "SELECT count(*) AS n FROM records WHERE doc ->> '$.n' >= ?"
        return next(self.opened.query(sql, [least]))["n"]


def documents():
    chance = random.Random(1)
    words = ["model", "latency", "answer", "prompt", "token", "quality", "session", "device"]
    for n in range(COUNT):
        text = " ".join(chance.choice(words) for _ in range(40))
        yield f"k{n}", {"n": n, "text": text, "tags": chance.sample(words, 3), "at": 1.7e12 + n}


def run(kind, folder):
    store = kind(folder / kind.__name__, generate_fernet_key())
    given = list(documents())
    times = {}
    start = time.perf_counter()
    for key, data in given:
        store.store(key, data)
    times["store"] = time.perf_counter() - start
    start = time.perf_counter()
    for key, data in given:
        assert store.retrieve(key) == data
    times["retrieve"] = time.perf_counter() - start
    start = time.perf_counter()
    for _ in range(5):
        assert store.find(COUNT - 10) == 10
    times["find"] = (time.perf_counter() - start) / 5 * COUNT
    store.close()
    return times


def main():
    runs = {Plain: [], Sealed: []}
    for _ in range(5):
        for kind, times in runs.items():
            with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
                times.append(run(kind, pathlib.Path(folder)))
    print(f"{'microseconds':<14}{'Holdfast':>10}{'plain':>10}{'ratio':>8}")
    for what, unit in (("store", COUNT), ("retrieve", COUNT), ("find", COUNT)):
        ours, theirs = (statistics.median(t[what] for t in runs[kind]) / unit * 1e6 for kind in (Sealed, Plain))
        print(f"{what:<14}{ours:>10.1f}{theirs:>10.1f}{ours / theirs:>8.2f}")


main()
