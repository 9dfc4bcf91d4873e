"""Makes a wheel with the native engine in it, where maturin's wheel of the engine is named; else a wheel without one.

    KRAKEN_L3_NATIVE_WHEEL=kraken_l3_native-0.1.0-cp39-abi3-manylinux_2_34_x86_64.whl hatchling build -t wheel

maturin knows what a shared library may need on which platform, hatchling needs no cargo: each does its part.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar
from zipfile import ZipFile

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VARIABLE = "KRAKEN_L3_NATIVE_WHEEL"


class NativeEngine(BuildHookInterface):  # type: ignore[type-arg]
    """Unpacks the engine's wheel and takes over its files, its platform tag and its list of crates (SBOM)."""

    PLUGIN_NAME: ClassVar[str] = "custom"
    unpacked = ""

    def initialize(self, version: str, build_data: "dict[str, Any]") -> None:
        """See `BuildHookInterface`."""
        named = os.environ.get(VARIABLE)
        if self.target_name != "wheel" or version == "editable" or not named:
            return
        wheel = Path(named)
        _, engine_version, *tag = wheel.stem.split("-")
        if engine_version != self.metadata.version:
            raise ValueError(f"{wheel.name} is not of version {self.metadata.version}: build it from this checkout")
        self.unpacked = tempfile.mkdtemp()
        with ZipFile(wheel) as archive:
            archive.extractall(self.unpacked)
        for directory in Path(self.unpacked).iterdir():
            if directory.suffix != ".dist-info":
                build_data["force_include"][str(directory)] = directory.name
        # hatchling for Python 3.9 (1.27) does not know them and leaves them out.
        build_data.setdefault("sbom_files", []).extend(map(str, Path(self.unpacked).glob("*.dist-info/sboms/*")))
        build_data["pure_python"] = False
        build_data["tag"] = "-".join(tag)

    def finalize(self, version: str, build_data: "dict[str, Any]", artifact_path: str) -> None:
        """See `BuildHookInterface`."""
        if self.unpacked:
            shutil.rmtree(self.unpacked)
