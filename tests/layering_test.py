#!/usr/bin/env python3
"""Fails on an include that the architecture forbids, on a header that does not stand alone, and on a file
or function that has grown too long. Usage: layering_test.py SOURCE [COMPILER]"""

import concurrent.futures
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(sys.argv[1])

# What each folder may include, besides itself and the libraries. Public headers say what an app sees;
# the layers below the store may use those that define plain types.
ALLOWED = {
    "include/holdfast": {"include/holdfast"},
    "src/base": set(),
    "src/crypto": {"src/base"},
    "src/model": {"src/base"},
    "src/wire": {"src/base"},
    "src/store": {"src/base", "src/crypto", "src/model"},
    "src/privacy": {"src/base", "src/crypto", "src/store", "src/wire"},
    "src/sync": {"src/base", "src/crypto", "src/model", "src/privacy", "src/store", "src/wire"},
    "relay": {"src/base", "src/wire"},
    "collector": {"relay", "src/base", "src/crypto", "src/wire"},
    "cli": set(),
    "bindings/c": set(),
}
PUBLIC = {
    "src/base": {"error.h"},
    "src/crypto": {"error.h"},
    "src/model": {"error.h", "conflict.h", "json.h", "record_version.h"},
    "src/wire": {"error.h"},
    "relay": {"error.h"},
    "collector": {"error.h", "json.h"},
}
# Tests of sync drive the real relay service.
TEST_ONLY = {"src/sync": {"relay", "relay/sqlite"}}
# Data leaves the privacy layer in one place.
NETWORK = re.compile(r"(->|\.)perform\(|HttpRequest\b")
MAY_SEND = {"src/privacy/sealed_egress.h"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
MAX_LINES = 450


def layer_of(path):
    for layer in sorted(ALLOWED, key=len, reverse=True):
        if path.startswith(layer + "/"):
            return layer
    return None


def is_test(path):
    return path.endswith("_test.cc") or "/test_" in path or path.endswith("/fakes.h")


def problems_of(path, text):
    layer = layer_of(path)
    if len(text.splitlines()) > MAX_LINES:
        yield f"{path}: longer than {MAX_LINES} lines"
    if layer == "src/privacy" and path not in MAY_SEND and not is_test(path) and NETWORK.search(text):
        yield f"{path}: only {', '.join(MAY_SEND)} may touch the network"
    for name in INCLUDE.findall(text):
        if name.startswith("holdfast/"):
            known = PUBLIC.get(layer)
            if known is not None and name[len("holdfast/"):] not in known and not is_test(path):
                yield f"{path}: {layer} may not include {name}"
            continue
        target = layer_of(name)
        if target is None:
            yield f"{path}: unknown include {name}"
        elif target != layer and target not in ALLOWED[layer]:
            if is_test(path) and any(name.startswith(t) for t in TEST_ONLY.get(layer, ())):
                continue
            yield f"{path}: {layer} may not include {name}"


def sources():
    for layer in ("include", "src", "relay", "collector", "cli", "bindings/c"):
        for path in sorted((ROOT / layer).rglob("*")):
            if path.suffix in (".h", ".cc", ".c"):
                yield path.relative_to(ROOT).as_posix(), path.read_text()


def stands_alone(header, compiler):
    with tempfile.NamedTemporaryFile("w", suffix=".cc") as unit:
        unit.write(f'#include "{header}"\n#include "{header}"\n')
        unit.flush()
        command = [compiler, "-std=c++20", "-fsyntax-only", f"-I{ROOT}", f"-I{ROOT}/include", unit.name]
        result = subprocess.run(command, capture_output=True, text=True)
    return [] if result.returncode == 0 else [f"{header} does not stand alone:\n{result.stderr[:500]}"]


def self_check():
    """A planted fault of each kind is found."""
    assert list(problems_of("src/base/x.h", '#include "src/crypto/aead.h"\n'))
    assert list(problems_of("src/wire/x.h", '#include "src/model/types.h"\n'))
    assert list(problems_of("relay/x.cc", '#include "src/crypto/aead.h"\n'))
    assert list(problems_of("cli/x.cc", '#include "src/base/bytes.h"\n'))
    assert list(problems_of("bindings/c/x.cc", '#include "src/base/bytes.h"\n'))
    assert list(problems_of("src/model/x.h", '#include "holdfast/vault.h"\n'))
    assert list(problems_of("src/model/x.h", "\n" * (MAX_LINES + 1)))
    assert list(problems_of("src/privacy/x.cc", "environment.network->perform(request);\n"))
    assert not list(problems_of("src/sync/x.cc", '#include "src/store/engine.h"\n'))


def main():
    self_check()
    problems = []
    headers = []
    for path, text in sources():
        problems += problems_of(path, text)
        if path.endswith(".h"):
            headers.append(path.removeprefix("include/"))
    if len(sys.argv) > 2:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            public = [h for h in headers if h.startswith("holdfast/")]
            for found in pool.map(lambda h: stands_alone(h, sys.argv[2]), public):
                problems += found
    print("\n".join(problems) or f"{len(headers)} headers and their layers are in order")
    sys.exit(1 if problems else 0)


main()
