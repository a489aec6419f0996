"""Builds the package: the C library, and from its headers the declarations for cffi.

The library is taken from HOLDFAST_BUILD, a folder that CMake has built in; without it, CMake builds it."""

import os
import pathlib
import re
import shutil
import subprocess

import cffi
from setuptools import Distribution, setup
from setuptools.command.build_py import build_py
from wheel.bdist_wheel import bdist_wheel

ROOT = pathlib.Path(__file__).resolve().parents[2]
VERSION = re.search(r"project\(holdfast VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text())[1]
# In the order in which they include each other.
HEADERS = ["base", "keys", "store", "moving", "conflicts", "sync", "vault", "privacy", "ledger"]


def declarations():
    """The C headers as cffi reads them: without comments, and without the preprocessor's lines."""
    text = "\n".join((ROOT / f"include/holdfast/c/{name}.h").read_text() for name in HEADERS)
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    text = re.sub(r"^#ifdef __cplusplus.*?^#endif$", "", text, flags=re.S | re.M)
    return re.sub(r"^#(.*\\\n)*.*$", "", text, flags=re.M)


def library():
    build = os.environ.get("HOLDFAST_BUILD")
    if not build:
        build = ROOT / "build" / "release"
        subprocess.run(["cmake", "--preset", "release"], cwd=ROOT, check=True)
        subprocess.run(["cmake", "--build", "--preset", "release", "--target", "holdfast_shared"], cwd=ROOT, check=True)
    return pathlib.Path(build) / "lib" / "libholdfast.so"


class Build(build_py):
    def run(self):
        super().run()
        package = pathlib.Path(self.build_lib) / "holdfast"
        ffi = cffi.FFI()
        ffi.set_source("holdfast._abi", None)
        ffi.cdef(declarations())
        ffi.emit_python_code(str(package / "_abi.py"))
        shutil.copyfile(library().resolve(), package / "libholdfast.so")
        subprocess.run(["strip", "--strip-unneeded", package / "libholdfast.so"], check=True)


class Wheel(bdist_wheel):
    """For any Python 3 of this machine's kind: nothing is compiled against Python itself."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


class Native(Distribution):
    def has_ext_modules(self):
        return True


setup(
    name="holdfast",
    version=VERSION,
    description="An encrypted, offline-first store of JSON records that syncs between a user's devices",
    package_dir={"": "src"},
    packages=["holdfast"],
    package_data={"holdfast": ["py.typed"]},
    python_requires=">=3.9",
    install_requires=["cffi>=1.15"],
    cmdclass={"build_py": Build, "bdist_wheel": Wheel},
    distclass=Native,
)
