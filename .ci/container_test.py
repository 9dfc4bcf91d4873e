"""Builds the image and records with it: read-only root, no root user, no capabilities, health check, clean stop.

    python .ci/container_test.py [--image NAME]     with an image that is there already

The container engine is podman, or what CONTAINER_ENGINE says ("docker", "podman --runtime runc"). Where there is none,
nothing is tested, and it says so. The recorder of this environment runs the exchange.
"""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENGINE = shlex.split(os.environ.get("CONTAINER_ENGINE", "podman"))
NAME = "kraken-l3-test"
WAIT_S = 90.0


def engine(*words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """A command of the container engine; its output is shown and kept."""
    print("$", *ENGINE, *words, flush=True)
    done = subprocess.run([*ENGINE, *words], stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, flush=True)
    if check and done.returncode:
        sys.exit(f"exit code {done.returncode}")
    return done


def main() -> None:
    """See the top."""
    if shutil.which(ENGINE[0]) is None:
        print(f"skipped: {ENGINE[0]} is not installed")
        return
    image = sys.argv[2] if sys.argv[1:2] == ["--image"] else ""
    if not image:
        image = NAME
        formats = ["--format", "docker"] if Path(ENGINE[0]).name == "podman" else []  # OCI knows no health check
        engine("build", *formats, "--tag", image, "--file", str(ROOT / "Containerfile"), str(ROOT))
    command = [sys.executable, "-m", "kraken_l3", "simulate", "--port", "0", "--symbols", "BTC/USD,ETH/USD"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as exchange:
        try:
            record(image, exports_of(exchange))
        finally:
            exchange.terminate()
            engine("rm", "--force", NAME, check=False)
            engine("volume", "rm", "--force", f"{NAME}-data", f"{NAME}-state", check=False)
    print("The image records on a read-only root, says that it is healthy, and stops cleanly.")


def exports_of(exchange: "subprocess.Popen[str]") -> "dict[str, str]":
    """What the exchange tells a recorder to use."""
    assert exchange.stdout is not None
    exports: dict[str, str] = {}
    while len(exports) < 5:
        line = exchange.stdout.readline()
        if not line:
            sys.exit("the exchange ended before it was ready")
        found = re.match(r"export (\w+)='?([^'\n]*)'?$", line.strip())
        if found:
            exports[found[1]] = found[2]
    return exports


def record(image: str, exports: "dict[str, str]") -> None:
    """Record until the container is healthy, look at it from inside, stop it, verify what it wrote."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {**exports, "KRAKEN_L3_SYMBOLS": "BTC/USD,ETH/USD", "KRAKEN_L3_HTTP": f"127.0.0.1:{port}"}
    variables = [word for name, value in settings.items() for word in ("--env", f"{name}={value}")]
    locked = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    volumes = ["--volume", f"{NAME}-data:/data", "--volume", f"{NAME}-state:/state"]
    engine("run", "--detach", "--name", NAME, "--network", "host", *locked, *volumes, *variables, image)
    deadline = time.monotonic() + WAIT_S
    while engine("exec", NAME, "python3", "/opt/kraken-l3/health.py", check=False).returncode:
        if time.monotonic() > deadline:
            engine("logs", NAME, check=False)
            sys.exit(f"not healthy within {WAIT_S:.0f} s")
        time.sleep(1)
    if engine("exec", NAME, "id", "--user").stdout.strip() != "10001":
        sys.exit("it runs as another user")
    if engine("exec", NAME, "touch", "/opt/kraken-l3/x", check=False).returncode == 0:
        sys.exit("the root is not read-only")
    engine("exec", NAME, "kraken-l3", "doctor")
    engine("stop", "-t", "60", NAME)
    if engine("inspect", "--format", "{{.State.ExitCode}}", NAME).stdout.strip() != "0":
        engine("logs", NAME, check=False)
        sys.exit("it did not stop cleanly")
    engine("run", "--rm", "--network", "none", *locked, *volumes, image, "verify", "--engine", "native", "/data")


if __name__ == "__main__":
    main()
