"""What lies in deploy/ fits what the recorder serves; promtool reads all of it where it is installed."""

import json
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from kraken_l3.monitor.metrics import metrics_text
from processes import ROOT, RecordProcess, simulate
from statuses import full_status

PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
NEEDS_PROMTOOL = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus); make deploy-check says so"
)


def dashboard():
    return json.loads((GRAFANA / "dashboard.json").read_text(encoding="utf-8"))


def rules():
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries():
    """Every query of the dashboard, as Grafana would send it."""
    found = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    found += [annotation["expr"] for annotation in dashboard()["annotations"]["list"]]
    return [text.replace("$__rate_interval", "5m").replace("$instance", ".*") for text in found]


def served():
    """The names of all series, and the labels of each."""
    names: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics_text(full_status(), age_s=0).decode()):
        for sample in family.samples:
            names.setdefault(sample.name, set()).update(sample.labels)
    return names


EXPRESSIONS = [*queries(), *(rule["expr"] for rule in rules())]


def test_there_is_something_to_check():
    assert len(queries()) > 25
    assert len(rules()) > 10


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_is_served_with_the_labels_that_are_asked_for(expression):
    names = served()
    asked = re.findall(r"\b(kraken_l3_\w+)(?:\{([^}]*)\})?", expression)
    assert asked or expression.startswith("up{")
    for name, selector in asked:
        assert name in names, name
        assert set(re.findall(r"(\w+)=", selector)) - {"instance", "job"} <= names[name], (name, selector)
    for labels in re.findall(r"by \(([^)]*)\)", expression):
        wanted = {label.strip() for label in labels.split(",")} - {"instance"}
        assert any(wanted <= names[name] for name, _ in asked), expression


def test_every_metric_of_a_recording_is_on_the_dashboard_or_in_a_rule():
    shown = " ".join(EXPRESSIONS)
    left_out = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in served()}
    left_out = {name for name in left_out if not re.search(rf"\b{name}(_bucket)?\b", shown)}
    assert left_out == {"kraken_l3_build_info", "kraken_l3_stopped"}


def test_the_dashboard_has_no_panel_twice_and_needs_no_data_source_of_ours():
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert dashboard()["uid"]
    assert {panel["datasource"]["uid"] for panel in panels if "datasource" in panel} == {"${datasource}"}
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def test_every_alert_says_what_to_do():
    for rule in rules():
        assert rule["annotations"]["summary"].startswith("{{ $labels.instance }}: "), rule["alert"]
        assert rule["annotations"]["description"], rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")


def promtool(*arguments, directory):
    done = subprocess.run(
        ["promtool", *arguments], cwd=directory, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@NEEDS_PROMTOOL
def test_promtool_takes_configuration_and_rules_and_passes_their_tests():
    promtool("check", "config", "prometheus.yml", directory=PROMETHEUS)
    promtool("check", "rules", "alerts.yml", directory=PROMETHEUS)
    promtool("test", "rules", "alerts_test.yml", directory=PROMETHEUS)


@NEEDS_PROMTOOL
def test_promtool_takes_every_query_of_the_dashboard(tmp_path):
    records = [{"record": f"query:{number}", "expr": text} for number, text in enumerate(queries())]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": records}]}))
    promtool("check", "rules", "queries.yml", directory=tmp_path)


@NEEDS_PROMTOOL
def test_promtool_finds_no_fault_with_the_metrics_themselves():
    text = metrics_text(full_status(), age_s=0)
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus; make deploy-check says so")
def test_a_real_prometheus_has_an_answer_to_every_query_about_a_real_recorder(tmp_path):
    shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with simulate("--rate", "300") as exports:
        exports.update(KRAKEN_L3_HTTP="127.0.0.1:0", KRAKEN_L3_RELAY="127.0.0.1:0")
        with RecordProcess(tmp_path / "recorder", exports) as recorder:
            page = re.compile(r"http://(127\.0\.0\.1:\d+)/")
            recorder.until(lambda: page.search(recorder.said))
            url = page.search(recorder.said)[1]
            with prometheus(tmp_path / "prometheus", url, port) as ask:
                recorder.until(lambda: ask("query", query="max_over_time(kraken_l3_healthy[1m])")["result"])
                recorder.until(lambda: ask("query", query="rate(kraken_l3_lag_seconds_count[15s]) > 0")["result"])
                recorder.until(lambda: ask("query", query="kraken_l3_relay_lag_seconds")["result"])
                unanswered = [
                    query for query in queries() if not ask("query", query=query.replace("5m", "15s"))["result"]
                ]
                failing = [
                    rule for group in ask("rules")["groups"] for rule in group["rules"] if rule["health"] == "err"
                ]
    # What this machine does not tell, and what takes ten minutes to be known; nothing has started again.
    allowed = ("kraken_l3_clock_", "kraken_l3_disk_time_to_full_seconds", "changes(")
    assert [query for query in unanswered if not query.startswith(allowed)] == []
    assert failing == []


@contextmanager
def prometheus(directory, target, port):
    """A Prometheus that scrapes a recorder once a second; yields what asks its API."""
    config = yaml.safe_load((directory / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = ["prometheus", "--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}"]

    def ask(what, **parameters):
        url = f"http://127.0.0.1:{port}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.URLError:  # not up yet
            return {"result": []}

    with (directory / "log").open("wb") as log, subprocess.Popen(command, cwd=directory, stderr=log) as process:
        try:
            yield ask
        finally:
            process.terminate()
