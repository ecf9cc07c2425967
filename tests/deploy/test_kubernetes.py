"""The Kubernetes manifests: valid for their schemas, strict about rights, and in accord with each other and with Deja."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from proxy.settings import Settings, environment_names
from proxy.settings.section import PREFIX

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "deploy" / "kubernetes"
FILES = sorted(FOLDER.glob("*.yaml"))
OPERATORS = {"kustomization.yaml", "service-monitor.yaml"}
"""Of kinds that are not Kubernetes' own: no schema of theirs is at hand."""


def manifest(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return found


def pod() -> dict[str, Any]:
    found: dict[str, Any] = manifest("deployment")["spec"]["template"]["spec"]
    return found


def container() -> dict[str, Any]:
    (only,) = pod()["containers"]
    found: dict[str, Any] = only
    return found


@pytest.mark.parametrize("path", [path for path in FILES if path.name not in OPERATORS], ids=lambda path: path.stem)
def test_kubernetes_takes_it(path: Path) -> None:
    kubernetes_validate.validate(yaml.safe_load(path.read_text()), kubernetes_validate.latest_version(), strict=True)


def test_every_manifest_is_applied_or_said_not_to_be() -> None:
    applied = set(manifest("kustomization")["resources"])
    assert applied | {"kustomization.yaml", "secret.example.yaml", "service-monitor.yaml"} == {
        path.name for path in FILES
    }


def test_a_container_may_do_nothing_that_it_does_not_need() -> None:
    rights = container()["securityContext"]
    assert rights == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["automountServiceAccountToken"] is False
    assert f"--uid {pod()['securityContext']['runAsUser']}" in (REPOSITORY / "Dockerfile").read_text()


def test_probes_ask_routes_that_exist_and_redis_away_restarts_nothing() -> None:
    probes = {
        name: container()[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert probes == {"startupProbe": "/health", "livenessProbe": "/health", "readinessProbe": "/ready"}


def test_a_pod_is_given_the_time_to_drain() -> None:
    assert pod()["terminationGracePeriodSeconds"] > Settings.model_fields["drain_s"].default + 10


def test_every_setting_exists_and_secrets_come_from_the_secret() -> None:
    plain = {each["name"] for each in container()["env"]}
    secret = set(manifest("secret.example")["stringData"])
    assert plain | secret <= set(environment_names())
    assert {f"{PREFIX}SECRET", f"{PREFIX}UPSTREAM__API_KEY"} <= secret
    assert not {name for name in plain if name.endswith(("KEY", "KEYS", "SECRET", "URL"))}
    assert container()["envFrom"] == [{"secretRef": {"name": manifest("secret.example")["metadata"]["name"]}}]


def test_everything_means_the_same_pods_and_the_same_port() -> None:
    labels = manifest("deployment")["spec"]["template"]["metadata"]["labels"].items()
    assert manifest("deployment")["spec"]["selector"]["matchLabels"].items() <= labels
    assert manifest("service")["spec"]["selector"].items() <= labels
    assert manifest("disruption-budget")["spec"]["selector"]["matchLabels"].items() <= labels
    assert manifest("network-policy")["spec"]["podSelector"]["matchLabels"].items() <= labels
    service = manifest("service")
    assert (
        manifest("service-monitor")["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    )
    assert manifest("autoscaler")["spec"]["scaleTargetRef"]["name"] == manifest("deployment")["metadata"]["name"]
    (port,) = container()["ports"]
    assert {service["spec"]["ports"][0]["targetPort"], manifest("service-monitor")["spec"]["endpoints"][0]["port"]} == {
        port["name"]
    }
    assert manifest("autoscaler")["spec"]["minReplicas"] > manifest("disruption-budget")["spec"]["minAvailable"]
