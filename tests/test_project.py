"""What the documents say against what is there: commands, options, configuration keys, links, the version."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kraken_l3 import __version__
from kraken_l3.archive.journal import GapOpened
from kraken_l3.cli.commands import APP
from kraken_l3.config.settings import SECRET_ENV, SECRET_KEYS, Settings
from kraken_l3.errors import KrakenL3Error
from processes import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ALL_TEXT = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)


def sh_lines(path: Path) -> list[str]:
    """The lines of a document's ```sh blocks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip() and not line.startswith("#")]


def calls() -> list[tuple[str, str]]:
    """Every call of kraken-l3 in the documents: (document, arguments)."""
    found = []
    for path in DOCUMENTS:
        for line in sh_lines(path):
            for part in re.split(r"[;|]|&&", line.split(" #")[0]):
                words = part.split()
                if words[:1] == ["kraken-l3"]:
                    found.append((path.name, " ".join(words[1:])))
    return found


def command_of(words: list[str]):
    """The command that the words begin with, and the words that are left."""
    command = APP
    while hasattr(command, "get_command") and words and not words[0].startswith("-"):
        name = words[0]
        command = command.get_command(None, name)
        assert command is not None, f"there is no command {name}"
        words = words[1:]
    return command, words


def visible(command, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], object]]:
    """All commands below this one that are not hidden, groups left out."""
    if not hasattr(command, "list_commands"):
        return [(path, command)]
    names = command.list_commands(None)
    return [leaf for name in names for leaf in visible(command.get_command(None, name), (*path, name))]


@pytest.mark.parametrize(("document", "arguments"), calls())
def test_a_documented_call_exists_with_its_options(document: str, arguments: str) -> None:
    command, rest = command_of(shlex.split(arguments.split(">")[0]))
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in rest:
        if word.startswith("-"):
            assert word.split("=")[0] in known, f"{document}: {arguments}"


def test_the_documents_have_calls_to_check() -> None:
    assert len(calls()) > 10


@pytest.mark.parametrize("name", APP.list_commands(None))
def test_every_command_stands_in_the_readme_and_explains_itself(name: str) -> None:
    assert f"`kraken-l3 {name}`" in README
    shown = subprocess.run(
        [sys.executable, "-m", "kraken_l3", name, "--help"], capture_output=True, text=True, check=True, timeout=30
    )
    assert name in shown.stdout


def test_every_option_has_a_help_text() -> None:
    for path, command in visible(APP):
        assert command.help, path
        for parameter in command.params:
            assert getattr(parameter, "help", "") or parameter.name == "help", (path, parameter.name)


def test_make_targets_of_the_documents_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wanted = {word for path in DOCUMENTS for line in sh_lines(path) for word in re.findall(r"^make (\w+)", line)}
    assert {"demo", "test"} <= wanted <= targets
    assert set(re.findall(r"`make (\w+)`", ALL_TEXT)) <= targets


@pytest.mark.parametrize("key", list(Settings.model_fields))
def test_every_key_is_documented_with_its_variable_and_default(key: str) -> None:
    (row,) = re.findall(rf"^\| `{key}` \| `(\w+)` \| (.+?) \|", OPERATIONS, re.MULTILINE)
    variable, default = row
    assert variable == SECRET_ENV.get(key, "KRAKEN_L3_" + key.upper())
    value = Settings.model_fields[key].default
    if key.endswith("_url"):
        assert default == "Kraken's"
    elif key == "alerts":
        assert default == "all"
    elif key in ("symbols", "http", "relay", "alert_hook", *SECRET_KEYS):
        assert default == "none"
    elif isinstance(value, (bool, float)):
        assert yaml.safe_load(default) == value
    else:
        assert default.strip("`") == (str(value) or "none")


def test_the_example_names_every_key_and_shows_the_defaults() -> None:
    text = (ROOT / "config.yaml.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^(?:# )?(\w+):(?: |$)", text, re.MULTILINE)) == set(Settings.model_fields)
    example = yaml.safe_load(re.sub(r"^# (\w+: )", r"\1", text, flags=re.MULTILINE))
    settings, defaults = Settings(**example), Settings()
    assert settings.model_dump(exclude={"symbols"}) == defaults.model_dump(exclude={"symbols"})
    assert settings.symbols


def test_every_cause_of_a_gap_is_explained() -> None:
    causes = set(re.findall(r"\w+", (GapOpened.__doc__ or "").partition("Causes:")[2])) - {"start"}
    table = OPERATIONS.partition("\n## Gaps")[2].partition("\n## ")[0]
    assert causes <= set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))


def test_every_exit_code_is_explained() -> None:
    def codes(error: type) -> set[int]:
        return {error.exit_code}.union(*(codes(child) for child in error.__subclasses__()))

    for code in codes(KrakenL3Error):
        assert re.search(rf"\b{code} (fine|usage|damage|something|refused|a fault)", README), code


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert versions[versions[0] == "Unreleased"] == __version__
    assert len(set(versions)) == len(versions)


def test_the_native_engine_has_the_version_of_the_recorder() -> None:
    """The recorder refuses another one; in a wheel both come together."""
    for name in ("Cargo.toml", "Cargo.lock"):
        text = (ROOT / "native" / name).read_text(encoding="utf-8")
        assert re.findall(r'^name = "kraken_l3_native"\nversion = "(.+)"', text, re.MULTILINE) == [__version__], name


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_documents_stay_short_and_name_no_line_numbers() -> None:
    assert README.count("\n") <= 120
    assert (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").count("\n") <= 150
    assert not re.findall(r"\w+\.(?:py|rs):\d+", ALL_TEXT)


def test_the_map_names_every_package_and_nothing_else() -> None:
    source = ROOT / "src" / "kraken_l3"
    assert set(layers_on_the_map()) == {
        path.stem for path in source.iterdir() if not path.name.startswith("_") and path.suffix in ("", ".py")
    }


def test_the_map_has_the_layers_that_are_checked() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (layers,) = re.findall(r"^layers = \[(.+?)^\]", text, re.MULTILINE | re.DOTALL)
    checked = {
        name: number for number, names in enumerate(re.findall(r'"(.+?)"', layers), 1) for name in names.split(" | ")
    }
    assert layers_on_the_map() == checked


def layers_on_the_map() -> dict[str, int]:
    """Each package that ARCHITECTURE.md has on its map, with the number of its layer."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.partition("\n## Map")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| ((?:`\w+`(?:, )?)+) \|", table, re.MULTILINE)
    return {name: int(number) for number, names in rows for name in re.findall(r"`(\w+)`", names)}


def test_modules_that_the_architecture_names_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    packages = {path.name for path in (ROOT / "src" / "kraken_l3").iterdir() if path.is_dir()}
    for package, module in re.findall(r"`(\w+)\.(\w+)`", text):
        if package in packages:
            found = ROOT / "src" / "kraken_l3" / package / module
            assert found.is_dir() or found.with_suffix(".py").exists(), f"{package}.{module}"


def test_no_module_has_grown_into_two() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        assert path.read_text(encoding="utf-8").count("\n") < 600, path


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("lack", "said"), [("version_info", "needs Python 3.9 or later"), ("ensurepip", "sudo apt install python3-venv")]
)
def test_make_says_what_a_python_lacks(tmp_path: Path, lack: str, said: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncase $2 in *{lack}*) exit 1;; esac\n")
    python.chmod(0o755)
    command = ["make", "-s", "-C", str(ROOT), "demo", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
