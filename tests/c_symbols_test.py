#!/usr/bin/env python3
"""What libholdfast.so exports is what holdfast.map lists and what the C headers declare, no more and no less;
the headers compile as C11 and as C++11. Usage: c_symbols_test.py SOURCE LIBRARY"""

import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(sys.argv[1]).resolve()
DECLARED = re.compile(r"^(?:hf_code|const char\*|void) (hf_\w+)\(", re.M)
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wstrict-prototypes", "-Werror"]


def declared():
    names = set()
    for header in (ROOT / "include/holdfast/c").glob("*.h"):
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
        names |= set(DECLARED.findall(text))
    return names


def listed():
    return set(re.findall(r"^    (hf_\w+);$", (ROOT / "bindings/c/holdfast.map").read_text(), re.M))


def used_by_python():
    text = "".join(path.read_text() for path in (ROOT / "bindings/python/src/holdfast").glob("*.py"))
    return set(re.findall(r"\b(hf_[a-z_]+)\b", text)) | {"hf_store_query_all"}  # rows one by one, there


def exported(library):
    out = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True)
    names = {line.split()[2] for line in out.stdout.splitlines()}
    return {name.split("@")[0] for name in names if not name.startswith("HOLDFAST_")}, names


def compiles(compiler, flags):
    headers = sorted((ROOT / "include/holdfast/c").glob("*.h")) + [ROOT / "include/holdfast/holdfast.h"]
    for header in headers:
        with tempfile.NamedTemporaryFile("w", suffix=".c") as unit:
            unit.write(f'#include "{header}"\n#include "{header}"\nint main(void) {{ return 0; }}\n')
            unit.flush()
            subprocess.run([compiler, *flags, f"-I{ROOT}/include", "-fsyntax-only", unit.name], check=True)


def main():
    found, raw = exported(sys.argv[2])
    problems = []
    for what, names in (("declared, and not listed", declared() - listed()),
                        ("listed, and not declared", listed() - declared()),
                        ("exported, and not listed", found - listed()),
                        ("listed, and not exported", listed() - found),
                        ("not in the Python package", listed() - used_by_python()),
                        ("without a version", {n for n in raw if n.startswith("hf_") and "@@HOLDFAST_" not in n})):
        problems += [f"{what}: {name}" for name in sorted(names)]
    compiles("gcc", ["-std=c11", *WARNINGS])
    compiles("g++", ["-x", "c++", "-std=c++11", *[w for w in WARNINGS if "strict" not in w]])
    print("\n".join(problems) or f"{len(found)} functions are exported, each on purpose")
    sys.exit(1 if problems else 0)


main()
