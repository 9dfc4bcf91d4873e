"""Installs what `make dist` built into an empty environment, as a user would, and records from the embedded exchange.

    python dist_test.py dist [--engine native|python]

Needs nothing but Python with venv, and a package index for what the recorder depends on. pip chooses among the wheels.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

NAME = "kraken-l3-recorder"
#: Where the two packages were imported from, and the wheel's tag.
ORIGIN = (
    "import importlib.metadata, kraken_l3; print(kraken_l3.__file__);"
    f"print(importlib.metadata.distribution('{NAME}').read_text('WHEEL').split('Tag: ')[1].split()[0])"
)


def main() -> None:
    """See the top."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("dist", type=Path, help="directory with the wheels")
    options.add_argument("--engine", choices=["native", "python"], help="expected; default: native if a wheel has it")
    given = options.parse_args()
    wheels = sorted(path.name for path in given.dist.glob("*.whl"))
    if not wheels:
        sys.exit(f"there is no wheel in {given.dist}: make dist builds some")
    engine = given.engine or ("python" if all(name.endswith("-none-any.whl") for name in wheels) else "native")
    with tempfile.TemporaryDirectory() as directory:
        try_out(given.dist.resolve(), Path(directory).resolve(), engine)


def try_out(dist: Path, empty: Path, engine: str) -> None:
    """Everything happens in the empty directory, with an environment that knows neither checkout nor other packages."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "KRAKEN", "VIRTUAL_ENV"))}

    def run(*command: object) -> str:
        words = [str(word) for word in command]
        print("$", *words, flush=True)
        done = subprocess.run(words, cwd=empty, env=clean, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout, flush=True)
        if done.returncode:
            sys.exit(f"exit code {done.returncode}")
        return done.stdout

    run(sys.executable, "-m", "venv", "venv")
    scripts = empty / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python, recorder = scripts / "python", scripts / "kraken-l3"
    pip = (python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "--upgrade", "pip")
    # In two steps: nothing of this name may come from the index.
    run(*pip, "--no-index", "--no-deps", "--find-links", dist, NAME)
    run(*pip, f"{NAME}[research]")
    run(python, "-m", "pip", "check")
    installed, tag = run(python, "-c", ORIGIN).split()
    if not Path(installed).is_relative_to(empty):
        sys.exit(f"kraken_l3 was imported from {installed}")
    if f"({engine} engine)" not in run(recorder, "--version"):
        sys.exit(f"the wheel ({tag}) should run with the {engine} engine")
    run(recorder, "demo", "--out", "demo")
    run(recorder, "verify", "--engine", engine, Path("demo") / "data")
    print(f"The wheel for {tag} records, and verifies with the {engine} engine.")


if __name__ == "__main__":
    main()
