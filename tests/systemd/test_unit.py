"""The systemd user unit: its text, and what installing it does to a home directory."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.errors import UsageError
from kraken_l3.systemd.unit import Service, locate, unit_text
from processes import run

ODD = ["plain", "with space", "per%cent", "dol$lar", 'quo"te', "back\\slash", "star*[x]", "ünï", "-dash;semi#hash"]
FAKE_SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$XDG_CONFIG_HOME/called"
case "$2" in "$FAIL_AT") echo "Failed to connect to bus" >&2; exit 1;; esac
"""


def values(text, key):
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(key + "=")]


@pytest.fixture
def home(tmp_path):
    """A directory to record in, and a home with a systemctl that notes how it was called."""
    directory = tmp_path / "work"
    directory.mkdir()
    (directory / "config.yaml").write_text("symbols: [BTC/USD]\n")
    path = tmp_path / "bin"
    path.mkdir()
    (path / "systemctl").write_text(FAKE_SYSTEMCTL)
    (path / "systemctl").chmod(0o755)
    return tmp_path


def service(home, *words, **env):
    env = {"XDG_CONFIG_HOME": str(home / "cfg"), "PATH": f"{home / 'bin'}:{os.environ['PATH']}", "FAIL_AT": "", **env}
    (home / "cfg").mkdir(exist_ok=True)
    return run("service", *words, directory=home / "work", **env)


def called(home):
    return (home / "cfg" / "called").read_text().splitlines()


def test_install_writes_a_unit_and_a_file_for_the_key(home):
    done = service(home, "install")
    assert done.returncode == 0, done.stderr
    unit = (home / "cfg/systemd/user/kraken-l3.service").read_text()
    assert values(unit, "ExecStart") == [f"{sys.executable} -m kraken_l3 record --config {home}/work/config.yaml"]
    assert values(unit, "ExecReload") == [f"{values(unit, 'ExecStart')[0]} --take-over"]
    assert values(unit, "NotifyAccess") == ["all"]
    assert values(unit, "WorkingDirectory") == [f"{home}/work"]
    assert values(unit, "Type") == ["notify"]
    assert values(unit, "Restart") == ["always"]
    assert values(unit, "RestartPreventExitStatus") == ["1 4"]
    environment = home / "cfg/kraken-l3/kraken-l3.env"
    assert values(unit, "EnvironmentFile") == [f"-{environment}"]
    assert stat.S_IMODE(environment.stat().st_mode) == 0o600
    assert all(line.startswith("#") for line in environment.read_text().splitlines())
    assert called(home) == ["--user show-environment", "--user daemon-reload", "--user enable kraken-l3.service"]
    for word in ("enable-linger", "journalctl --user -u kraken-l3", "systemctl --user restart kraken-l3"):
        assert word in done.stdout


def test_a_second_install_keeps_the_key_and_makes_it_private(home):
    assert service(home, "install").returncode == 0
    environment = home / "cfg/kraken-l3/kraken-l3.env"
    environment.write_text("KRAKEN_API_KEY=mine\n")
    environment.chmod(0o644)
    assert service(home, "install").returncode == 0
    assert environment.read_text() == "KRAKEN_API_KEY=mine\n"
    assert stat.S_IMODE(environment.stat().st_mode) == 0o600


def test_uninstall_leaves_the_key(home):
    service(home, "install", "--name", "second")
    done = service(home, "uninstall", "--name", "second")
    assert done.returncode == 0, done.stderr
    assert not (home / "cfg/systemd/user/second.service").exists()
    assert (home / "cfg/kraken-l3/second.env").exists()
    assert called(home)[-2:] == ["--user disable --now second.service", "--user daemon-reload"]
    again = service(home, "uninstall", "--name", "second")
    assert again.returncode == 1
    assert "no such service" in again.stderr


def test_dry_run_writes_nothing_and_needs_no_systemd(home):
    done = service(home, "install", "--dry-run", PATH="/nowhere")
    assert done.returncode == 0, done.stderr
    assert "Type=notify" in done.stdout
    assert list((home / "cfg").iterdir()) == []


@pytest.mark.parametrize(
    ("env", "words", "says", "code"),
    [
        ({"PATH": "/nowhere"}, (), "no systemd on this machine", 1),
        ({"FAIL_AT": "show-environment"}, (), "does not answer", 1),
        ({"FAIL_AT": "enable"}, (), "Failed to connect to bus", 5),
        ({}, ("--config", "other.yaml"), "no such file", 1),
        ({}, ("--name", "a/b"), "not a valid service name", 1),
        ({"KRAKEN_L3_DEPTH": "11"}, (), "depth", 1),
    ],
)
def test_what_cannot_work_is_said(home, env, words, says, code):
    done = service(home, "install", *words, **env)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    if code == 1:
        assert not (home / "cfg/systemd").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="systemd is Linux's")
@pytest.mark.parametrize("bad", ["/a\nb", "/a\x00b", "/a ", "/a\\"])
def test_paths_that_no_unit_can_hold_are_refused(bad):
    with pytest.raises(UsageError, match="without special characters"):
        unit_text(Service("x", Path("/usr/bin/python3"), Path(bad), None))


@pytest.mark.parametrize("bad", ["/a'b/python", '/a"b/python', "/a\\b/python"])
def test_interpreters_that_systemd_refuses_are_refused(bad):
    with pytest.raises(UsageError, match="without special characters"):
        unit_text(Service("x", Path(bad), Path("/"), None))


def systemd_words(line):
    """An independent reading of systemd.syntax(7): double quotes, backslashes, %%."""
    words, word, quoted, started = [], "", False, False
    characters = iter(line.replace("%%", "%"))
    for c in characters:
        if c == "\\":
            word += next(characters)
        elif c == '"':
            quoted, started = not quoted, True
        elif c == " " and not quoted:
            words.append(word)
            word, started = "", False
        else:
            word, started = word + c, True
    return [*words, word] if started else words


@given(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1))
def test_systemd_reads_the_command_that_was_meant(name):
    config = Path("/etc/a b") / name.replace("/", "_")
    (line,) = values(unit_text(Service("x", Path("/opt/my py/bin/python"), Path("/"), config)), "ExecStart")
    words = systemd_words(line)
    assert words[0].removeprefix(":") == "/opt/my py/bin/python"
    assert words[1:] == ["-m", "kraken_l3", "record", "--config", str(config)]
    assert line.startswith(":") == ("$" in str(config))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
@pytest.mark.parametrize("odd", ODD)
def test_systemd_itself_accepts_the_unit(tmp_path, monkeypatch, odd):
    """verify checks that the interpreter exists and is executable, under the odd name."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / odd))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    directory = tmp_path / odd
    directory.mkdir()
    interpreter = (tmp_path if set(odd) & set('"\\') else directory) / "python"
    interpreter.symlink_to(sys.executable)
    unit = tmp_path / "kraken-l3.service"
    unit.write_text(unit_text(Service("kraken-l3", interpreter, directory, directory / "config.yaml")))
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    about_us = [line for line in done.stderr.splitlines() if "kraken-l3" in line]
    assert not about_us, done.stderr
    interpreter.unlink()
    gone = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    assert "not executable" in gone.stderr, "verify looked at another path"


def test_locate_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert locate("a").unit == tmp_path / "systemd/user/a.service"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert locate("a").environment == Path("/home/me/.config/kraken-l3/a.env")
