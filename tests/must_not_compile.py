#!/usr/bin/env python3
"""What must not compile: sending anything past the gate. Usage: must_not_compile.py SOURCE COMPILER"""

import subprocess
import sys
import tempfile

SOURCE, COMPILER = sys.argv[1:3]
START = """
#include "src/privacy/sealed_egress.h"
#include "src/privacy/gate.h"
using namespace holdfast;
using namespace holdfast::privacy;
void attempt(base::Network& network, EgressTransport& transport, Bytes& bytes, SealedEgress& made) {
  (void)network; (void)transport; (void)bytes; (void)made;
  %s
}
"""
# Shows that the rest fails for its own reason, and not because of what is around it.
COMPILES = "transport.send(std::move(made), nullptr, nullptr);"
FAILS = {
    "bytes as they are": "transport.send(bytes, nullptr, nullptr);",
    "an egress of one's own": 'SealedEgress egress("https://example.org", bytes);',
    "an egress by list": 'transport.send({"https://example.org", bytes}, nullptr, nullptr);',
    "a copy, to be sent twice": "SealedEgress again(made);",
    "a look inside": "bytes = made.body_;",
    "another place": 'made.url_ = "https://example.org";',
    "a class that derives from it": "struct Mine : SealedEgress { Mine() : SealedEgress(\"\", {}) {} }; Mine mine;",
    "the gate's own way": "Gate* gate = nullptr; gate->release(1, nullptr);",
}


def compiles(body):
    with tempfile.NamedTemporaryFile("w", suffix=".cc") as unit:
        unit.write(START % body)
        unit.flush()
        command = [COMPILER, "-std=c++20", "-fsyntax-only", f"-I{SOURCE}", f"-I{SOURCE}/include", unit.name]
        result = subprocess.run(command, capture_output=True, text=True)
        return result.returncode == 0, result.stderr


ok, messages = compiles(COMPILES)
if not ok:
    sys.exit("what should compile does not:\n" + messages)
wrong = [name for name, body in FAILS.items() if compiles(body)[0]]
if wrong:
    sys.exit("these compile: " + ", ".join(wrong))
print(f"{len(FAILS)} ways past the gate do not compile")
