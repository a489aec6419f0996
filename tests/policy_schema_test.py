#!/usr/bin/env python3
"""The published JSON Schema and the command agree on which privacy policies are right: on the one in
docs/privacy.md, and on that one with one thing changed, many times. Usage: policy_schema_test.py SOURCE BIN"""

import copy
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import jsonschema

SOURCE, BIN = pathlib.Path(sys.argv[1]), sys.argv[2]
schema = json.loads((SOURCE / "docs/privacy-policy.schema.json").read_text())
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
example = json.loads(re.search(r"```json\n(.*?)```", (SOURCE / "docs/privacy.md").read_text(), re.S).group(1))
VALUES = [None, True, 0, -1, 1, 7, 0.5, "", "x", "a b", [], {}, ["x"], "2026-02-01", "1/2", "/a", "drop", "keep"]
# What a schema cannot say: names that refer to each other, dates and limits that belong together.
BEYOND = re.compile(r"is not defined|is there twice|must not be before|must be a date|lacks \"budget\"|"
                    r"must be from 0.001|must be at most 0.001|must be a whole number from|"
                    r"must be a number above|of a later format")


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, path + (key,))


def changed(policy, random_):
    out = copy.deepcopy(policy)
    path = random_.choice([p for p in places(policy) if p])
    at = out
    for key in path[:-1]:
        at = at[key]
    what = random_.randrange(3)
    if what == 0:
        del at[path[-1]]
    elif what == 1:
        at[path[-1]] = random_.choice(VALUES)
    elif isinstance(at, dict):
        at["other"] = random_.choice(VALUES)
    else:
        at.append(random_.choice(VALUES))
    return out


def command_says(policy):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(policy, file)
        file.flush()
        result = subprocess.run([f"{BIN}/holdfast", "egress", "report", "--policy", file.name],
                                capture_output=True, text=True)
    if result.returncode not in (0, 1):
        sys.exit(f"exit code {result.returncode} for {json.dumps(policy)}")
    return result.returncode == 0, result.stderr


ok, message = command_says(example)
if not ok or list(validator.iter_errors(example)):
    sys.exit(f"the example in docs/privacy.md is refused: {message}")
random_ = random.Random(7)
refused = 0
for _ in range(400):
    policy = changed(example, random_)
    ok, message = command_says(policy)
    valid = not list(validator.iter_errors(policy))
    refused += not ok
    if ok != valid and not (valid and BEYOND.search(message)):
        sys.exit(f"the schema says {valid}, the command {ok} {message}: {json.dumps(policy)}")
if not 100 < refused < 400:
    sys.exit(f"{refused} of 400 were refused: the test sees too little")
print(f"{refused} of 400 changed policies are refused, by the schema and the command alike")
