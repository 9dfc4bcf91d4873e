"""What hatch_build.py makes of a wheel, with a stand-in for the native engine's. make dist-test tries a real one."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from kraken_l3 import __version__
from processes import ROOT

pytest.importorskip("hatchling", reason="hatchling, which builds the recorder, is not installed here")

TAG = "cp39-abi3-manylinux_2_34_x86_64"


def native_wheel(directory: Path, version: str) -> Path:
    """As maturin names and fills it."""
    path = directory / f"kraken_l3_native-{version}-{TAG}.whl"
    with ZipFile(path, "w") as archive:
        archive.writestr("kraken_l3_native/__init__.py", "")
        archive.writestr("kraken_l3_native/kraken_l3_native.abi3.so", b"\x7fELF")
        archive.writestr(f"kraken_l3_native-{version}.dist-info/METADATA", "Name: kraken-l3-native\n")
        archive.writestr(f"kraken_l3_native-{version}.dist-info/sboms/kraken_l3_native.cyclonedx.json", "{}")
    return path


def build(directory: Path, native: str = "") -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "KRAKEN_L3_NATIVE_WHEEL": native}
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory / "dist")]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_without_a_native_engine_the_wheel_fits_every_platform(tmp_path: Path) -> None:
    done = build(tmp_path)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").iterdir()
    assert wheel.name == f"kraken_l3_recorder-{__version__}-py3-none-any.whl"
    names = ZipFile(wheel).namelist()
    assert "kraken_l3/config/config.yaml.example" in names
    assert not [name for name in names if "native/" in name]


def test_the_native_engine_is_in_the_wheel_of_its_platform(tmp_path: Path) -> None:
    done = build(tmp_path, str(native_wheel(tmp_path, __version__)))
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").iterdir()
    assert wheel.name == f"kraken_l3_recorder-{__version__}-{TAG}.whl"
    names = ZipFile(wheel).namelist()
    assert "kraken_l3_native/kraken_l3_native.abi3.so" in names
    assert not [name for name in names if name.startswith("kraken_l3_native-")], "one distribution, not two"
    told = ZipFile(wheel).read(f"kraken_l3_recorder-{__version__}.dist-info/WHEEL").decode()
    assert f"Tag: {TAG}" in told
    assert "Root-Is-Purelib: false" in told


def test_a_native_engine_of_another_version_is_refused(tmp_path: Path) -> None:
    done = build(tmp_path, str(native_wheel(tmp_path, "0.0.9")))
    assert done.returncode != 0
    assert f"is not of version {__version__}: build it from this checkout" in done.stderr
