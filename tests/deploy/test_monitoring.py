"""The Grafana dashboard and the alert rules speak of metrics, labels and values that exist, in PromQL that parses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.telemetry import Metrics

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "deja.json").read_text())
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
EXPRESSIONS = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
EXPRESSIONS += [(rule["alert"], rule["expr"]) for rule in RULES]
GRAFANAS = {"$__rate_interval": "5m", "$__range": "1h", "$instance": ".*"}
SCRAPED = {"instance", "job"}
"""Labels that Prometheus adds."""


def known() -> dict[str, set[str]]:
    """Name of a series -> its labels."""
    found: dict[str, set[str]] = {}
    for collector in set(Metrics().registry._collector_to_names):
        family = next(iter(collector.collect()))
        labels = set(collector._labelnames)  # type: ignore[attr-defined]
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        for ending in endings:
            found[family.name + ending] = labels | ({"le"} if ending == "_bucket" else set())
    return found


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[f"{n}-{w}" for n, (w, _) in enumerate(EXPRESSIONS)])
def test_every_series_and_label_of_an_expression_exists(where: str, expression: str) -> None:
    series = known()
    used = set(re.findall(r"\bdeja_\w+", expression))
    assert used, f"{where} looks at nothing of Deja's"
    assert used <= series.keys()
    allowed = set().union(*(series[name] for name in used)) | SCRAPED
    selected = {
        label for inside in re.findall(r"\{([^}]*)\}", expression) for label in re.findall(r"(\w+)\s*[=!]", inside)
    }
    grouped = {label.strip() for inside in re.findall(r"\bby \(([^)]*)\)", expression) for label in inside.split(",")}
    assert selected | grouped <= allowed
    assert expression.count("(") == expression.count(")")


def test_every_legend_names_a_label_that_its_expression_keeps() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            kept = {
                each.strip() for inside in re.findall(r"\bby \(([^)]*)\)", target["expr"]) for each in inside.split(",")
            }
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept, panel["title"]


def test_panels_have_a_description_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        assert panel["type"] == "row" or panel["description"]
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_alert_says_what_is_wrong_how_bad_it_is_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_every_page_an_alert_names_exists() -> None:
    for name in re.findall(r"docs/[\w/.-]+\.md", ALERTS.read_text()):
        assert (DEPLOY.parent / name).is_file(), name


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
def test_prometheus_itself_takes_the_rules_and_every_panels_expression(tmp_path: Path) -> None:
    rules = []
    for number, (_, expression) in enumerate(EXPRESSIONS):
        for name, value in GRAFANAS.items():
            expression = expression.replace(name, value)
        rules.append({"record": f"panel_{number}", "expr": expression})
    panels = tmp_path / "panels.yaml"
    panels.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    run = subprocess.run(["promtool", "check", "rules", str(ALERTS), str(panels)], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
