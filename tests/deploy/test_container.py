"""What stands around the image: the compose file and the health check. make container-test tries the image itself."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml

from processes import ROOT

COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_gives_up_what_it_does_not_need_and_mounts_what_is_there(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "build" in service or ":" in service["image"], "a version"
    for mount in service["volumes"]:
        source = mount.partition(":")[0]
        if source.startswith("."):
            assert (ROOT / "deploy" / source).exists(), mount
        else:
            assert source in COMPOSE["volumes"], mount
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), "nothing is open to other machines"


def test_what_the_image_copies_is_in_the_build_context() -> None:
    kept = set((ROOT / ".dockerignore").read_text(encoding="utf-8").split())
    for line in (ROOT / "Containerfile").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[:1] == ["COPY"] and not words[1].startswith("--") and words[1] != ".":
            assert f"!{words[1]}" in kept
            assert (ROOT / words[1]).exists()
    for name in (
        "src",
        "native",
        "Makefile",
        "requirements",
        "pyproject.toml",
        "hatch_build.py",
        "README.md",
        "LICENSE",
    ):
        assert f"!{name}" in kept, "make dist needs it"


@pytest.mark.parametrize(("status", "token"), [(200, ""), (503, ""), (200, "a-token-that-is-long")])
def test_the_health_check_says_what_healthz_says(status: int, token: str) -> None:
    asked = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization")))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b'{"healthy": "told"}')

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        done = health(server.server_port, token)
        thread.join()
    assert (done.returncode, '"told"' in done.stdout + done.stderr) == (0 if status == 200 else 1, True)
    assert asked == [("/healthz", f"Bearer {token}" if token else None)]


def test_the_health_check_without_a_recorder() -> None:
    done = health(9, "")
    assert done.returncode == 1
    assert "/healthz cannot be reached" in done.stderr


def health(port: int, token: str) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "KRAKEN_L3_HTTP": f"127.0.0.1:{port}", "KRAKEN_L3_HTTP_TOKEN": token}
    command = [sys.executable, str(ROOT / "deploy" / "health.py")]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
