"""The documentation of what an operator deploys and watches is true: metrics, alerts, spans, manifests."""

from __future__ import annotations

import re

from proxy.telemetry import Metrics
from tests.docs.pages import DOCS, REFERENCE, REPOSITORY, names, rows, section


def test_every_metric_is_documented_with_kind_and_labels() -> None:
    documented = {
        row[0].strip("`"): (row[1], tuple(re.findall(r"`(\w+)`", row[2])))
        for row in rows((REFERENCE / "metrics.md").read_text())
    }
    counted = {}
    for collector in set(Metrics().registry._collector_to_names):
        family = next(iter(collector.collect()))
        name = f"{family.name}_total" if family.type == "counter" else family.name
        counted[name] = (family.type, tuple(collector._labelnames))  # type: ignore[attr-defined]
    assert documented == counted


def test_every_alert_is_documented() -> None:
    alerts = re.findall(r"- alert: (\w+)", (REPOSITORY / "deploy" / "prometheus" / "alerts.yaml").read_text())
    assert names(section(DOCS / "guide" / "deploy.md", "Dashboard and alerts")) == alerts


def test_every_attribute_of_a_span_is_documented() -> None:
    source = (REPOSITORY / "proxy" / "core" / "tracing.py").read_text()
    made = set(re.findall(r'"((?:gen_ai|deja|http)\.[a-z_.]+[a-z])"', source)) | {
        "deja.saved.input_tokens",
        "gen_ai.usage.input_tokens",
    }
    text = section(DOCS / "guide" / "observability.md", "Traces")
    documented = set(re.findall(r"`((?:gen_ai|deja|http)\.[a-z_.]+)`", text))
    assert made - {"http.request.method", "http.route"} <= documented
    words = (REPOSITORY / "proxy" / "services" / "tracing.py").read_text()
    assert {name for name in documented if name.endswith(".messages")} == set(
        re.findall(r'"(gen_ai\.[a-z.]+messages)"', words)
    )


def test_every_manifest_is_documented() -> None:
    files = {path.name for path in (REPOSITORY / "deploy" / "kubernetes").glob("*.yaml")}
    plain = {"kustomization.yaml", "namespace.yaml", "serviceaccount.yaml"}
    assert set(names(section(DOCS / "guide" / "deploy.md", "Kubernetes"))) & files == files - plain
