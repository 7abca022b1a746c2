"""The manifests for Kubernetes keep its schema, fit each other and the image, and give no pod too much."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from elt.settings import PROJECT_DIR, Settings
from local.new_env import secret_files, settings_of
from local.services import all_services

BASE = PROJECT_DIR / "deploy/kubernetes/base"
EXAMPLE = PROJECT_DIR / "deploy/kubernetes/example/kustomization.yaml"
COMPONENT = "app.kubernetes.io/component"

Manifest = dict[str, Any]


def read(path: Path) -> list[Manifest]:
    return [each for each in yaml.safe_load_all(path.read_text("utf-8")) if each]


FILES = sorted(path for path in BASE.glob("*.yaml") if path.name != "kustomization.yaml")
MANIFESTS = [manifest for path in FILES for manifest in read(path)]
# What `./start.sh env` makes for the Secret.
SECRET_FILES = secret_files(
    {f"LAUREL_{name}_PASSWORD": "for-tests" for name in ("POSTGRES", "ELT", "AIRFLOW_DB", "REDIS")}
)
CONFIG: dict[str, str] = next(each["data"] for each in MANIFESTS if each["kind"] == "ConfigMap")


def name_of(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def of_kind(*kinds: str) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in MANIFESTS if each["kind"] in kinds}


def pods() -> dict[str, Manifest]:
    """The template of each workload's pods, by the workload's name."""
    return {name: each["spec"]["template"] for name, each in of_kind("Deployment", "Job").items()}


def containers() -> Iterator[tuple[str, Manifest, Manifest]]:
    """Each workload's name, its pod's specification and one of its containers."""
    for name, template in pods().items():
        spec = template["spec"]
        for container in [*spec.get("initContainers", ()), *spec["containers"]]:
            yield name, spec, container


CONTAINERS = [
    pytest.param(spec, container, id=f"{name}/{container['name']}") for name, spec, container in containers()
]
WORKLOADS = [pytest.param(name, id=name) for name in pods()]


# --- The files ----------------------------------------------------------------------------------------------


def test_kustomize_is_told_of_every_file() -> None:
    (kustomization,) = read(BASE / "kustomization.yaml")
    assert sorted(kustomization["resources"]) == [path.name for path in FILES]


# The three newest, which are those that Kubernetes mends.
@pytest.mark.parametrize("version", list(dict.fromkeys(kubernetes_validate.utils.all_versions()))[-3:])
def test_every_manifest_keeps_the_schema(version: str) -> None:
    for manifest in MANIFESTS:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_no_two_manifests_have_one_name() -> None:
    names = [name_of(each) for each in MANIFESTS]
    assert len(names) == len(set(names))


def test_the_example_changes_what_is_there() -> None:
    (example,) = read(EXAMPLE)
    assert example["resources"] == ["../base"]
    assert [each["name"] for each in example["images"]] == ["laurel"]
    for patch in example["patches"]:
        kind, name = patch["target"]["kind"], patch["target"].get("name")
        changed = [each for each in of_kind(kind).values() if name in (None, each["metadata"]["name"])]
        assert changed, patch["target"]
        for change in yaml.safe_load(patch["patch"]):
            assert all(_has(each, change["path"]) == (change["op"] == "replace") for each in changed), change


def _has(manifest: Any, pointer: str) -> bool:
    """Whether there is something at this place of a manifest; the place above it must be there."""
    *way, last = [int(part) if part.isdigit() else part for part in pointer.split("/")[1:]]
    for part in way:
        manifest = manifest[part]
    return last < len(manifest) if isinstance(last, int) else last in manifest


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl, which brings kustomize")
def test_kustomize_builds_the_example() -> None:
    built = subprocess.run(
        ["kubectl", "kustomize", EXAMPLE.parent], capture_output=True, text=True, check=True
    ).stdout
    manifests = list(yaml.safe_load_all(built))
    assert {name_of(each) for each in manifests} == {name_of(each) for each in MANIFESTS}
    for manifest in manifests:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    images = {line.split()[-1] for line in built.splitlines() if line.lstrip().startswith("image:")}
    assert images == {"registry.example.org/laurel:0.1.0", "redis:7"}


def test_no_secret_is_among_them() -> None:
    assert not of_kind("Secret")
    assert not [name for name in CONFIG if any(word in name for word in ("PASSWORD", "KEY", "SECRET"))]
    assert not [value for value in CONFIG.values() if "@" in value]


# --- Pods ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spec", "container"), CONTAINERS)
def test_every_container_is_limited_and_has_no_rights(spec: Manifest, container: Manifest) -> None:
    assert (
        set(container["resources"]["limits"]) == set(container["resources"]["requests"]) == {"cpu", "memory"}
    )
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    pod = spec["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] > 0
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)


@pytest.mark.parametrize("name", of_kind("Deployment"))
def test_every_service_is_looked_after(name: str) -> None:
    for container in pods()[name]["spec"]["containers"]:
        assert {"livenessProbe", "readinessProbe"} <= set(container)
        ports = {port["name"] for port in container.get("ports", ())}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container.get(probe, {})
            used = {asked[kind]["port"] for kind in ("httpGet", "tcpSocket") if kind in asked}
            assert used <= ports


@pytest.mark.parametrize(("spec", "container"), CONTAINERS)
def test_what_is_mounted_is_there(spec: Manifest, container: Manifest) -> None:
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    mounts = container.get("volumeMounts", [])
    assert {mount["name"] for mount in mounts} <= set(volumes)
    places = [mount["mountPath"] for mount in mounts]
    assert len(places) == len(set(places))
    if container["image"] == "laurel" and "args" in container:
        assert {CONFIG["LAUREL_HOME"], CONFIG["LAUREL_LOG_DIR"], "/tmp"} <= set(places)
        assert {str(Path(CONFIG["LAUREL_ENV_FILE"]).parent), "/etc/laurel/certificates"} <= set(places)


@pytest.mark.parametrize("name", WORKLOADS)
def test_volumes_stand_for_something(name: str) -> None:
    template = pods()[name]["spec"]
    used = {mount["name"] for *_, container in containers() for mount in container.get("volumeMounts", ())}
    for volume in template["volumes"]:
        assert volume["name"] in used
        if "persistentVolumeClaim" in volume:
            claim = of_kind("PersistentVolumeClaim")[volume["persistentVolumeClaim"]["claimName"]]
            assert claim["spec"]["accessModes"] == ["ReadWriteMany"], "several nodes mount it"
        if "secret" in volume:
            assert volume["secret"]["secretName"] == "laurel"
            assert volume["secret"]["defaultMode"] == 0o440
            assert {item["key"] for item in volume["secret"]["items"]} <= set(SECRET_FILES)


def test_lineage_and_logs_of_tasks_reach_those_who_show_them() -> None:
    def shares(name: str, claim: str) -> bool:
        volumes = pods()[name]["spec"]["volumes"]
        return {"claimName": claim} in [volume.get("persistentVolumeClaim") for volume in volumes]

    assert shares("airflow-worker", "state")
    assert shares("api", "state")
    assert shares("airflow-worker", "logs")
    assert shares("airflow-api-server", "logs")
    home = next(
        mount
        for mount in pods()["api"]["spec"]["containers"][0]["volumeMounts"]
        if mount["mountPath"] == CONFIG["LAUREL_HOME"]
    )
    assert home["readOnly"] is True


def test_images_are_ours_but_for_the_broker() -> None:
    assert {
        (name, container["image"]) for name, _, container in containers() if container["image"] != "laurel"
    } == {("redis", "redis:7")}


def test_every_role_is_one_of_the_images() -> None:
    roles = {role for *_, each in containers() if each["image"] == "laurel" for role in each.get("args", ())}
    assert roles <= {*all_services(), "migrate", "init-airflow"}
    services = {*all_services()} - {"postgres"}
    assert {role for role in services if role.startswith(("api", "live", "airflow-"))} <= roles


def test_every_setting_is_one_that_laurel_knows() -> None:
    written = (PROJECT_DIR / ".env.example").read_text("utf-8") + (
        PROJECT_DIR / "docker-compose.yaml"
    ).read_text("utf-8")
    for name in CONFIG:
        field = name.removeprefix("LAUREL_").lower()
        assert field in Settings.model_fields or f"{name}=" in written or f"{name}:" in written, name


def test_who_must_be_alone_is() -> None:
    for name in ("live", "airflow-scheduler", "redis"):
        spec = of_kind("Deployment")[name]["spec"]
        assert spec["replicas"] == 1
        assert spec["strategy"] == {"type": "Recreate"}


# --- How they find each other -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", of_kind("Deployment"))
def test_a_deployment_selects_its_own_pods_only(name: str) -> None:
    selector = of_kind("Deployment")[name]["spec"]["selector"]["matchLabels"]
    chosen = [other for other, pod in pods().items() if selector.items() <= pod["metadata"]["labels"].items()]
    assert chosen == [name]


@pytest.mark.parametrize("name", of_kind("Service"))
def test_a_service_leads_to_a_port_of_the_pods_of_its_name(name: str) -> None:
    spec = of_kind("Service")[name]["spec"]
    chosen = [
        other
        for other, pod in pods().items()
        if spec["selector"].items() <= pod["metadata"]["labels"].items()
    ]
    assert chosen == [name]
    ports = {port["name"]: port["containerPort"] for port in pods()[name]["spec"]["containers"][0]["ports"]}
    for port in spec["ports"]:
        assert ports[port["targetPort"]] == port["port"]


def test_the_ingress_leads_to_the_api() -> None:
    spec = of_kind("Ingress")["laurel"]["spec"]
    assert [host for each in spec["tls"] for host in each["hosts"]] == [
        rule["host"] for rule in spec["rules"]
    ]
    for rule in spec["rules"]:
        for path in rule["http"]["paths"]:
            service = of_kind("Service")[path["backend"]["service"]["name"]]
            assert name_of(service) == "Service/api"
            assert path["backend"]["service"]["port"]["name"] in {
                port["name"] for port in service["spec"]["ports"]
            }


def test_who_scales_and_who_keeps_up_means_the_api() -> None:
    scaler = of_kind("HorizontalPodAutoscaler")["api"]["spec"]
    assert scaler["scaleTargetRef"]["name"] in of_kind("Deployment")
    assert "replicas" not in of_kind("Deployment")["api"]["spec"], (
        "each apply would undo the autoscaler's work"
    )
    budget = of_kind("PodDisruptionBudget")["api"]["spec"]
    assert budget["minAvailable"] < scaler["minReplicas"], "else no node could ever be emptied"
    assert budget["selector"] == of_kind("Deployment")["api"]["spec"]["selector"]


@pytest.mark.parametrize(
    ("url", "service"),
    [
        (CONFIG["LAUREL_AIRFLOW_URL"], "airflow-api-server"),
        (settings_of(SECRET_FILES["laurel.env"])["LAUREL_BROKER_URL"], "redis"),
    ],
)
def test_addresses_inside_are_those_of_services(url: str, service: str) -> None:
    parts = urlsplit(url)
    assert parts.hostname == service
    assert parts.port in {port["port"] for port in of_kind("Service")[service]["spec"]["ports"]}


def test_services_listen_where_probes_and_services_ask() -> None:
    ports = {
        name: pods()[name]["spec"]["containers"][0]["ports"][0]["containerPort"]
        for name in of_kind("Service")
    }
    assert str(ports["api"]) == CONFIG["LAUREL_PORT"]
    assert str(ports["airflow-api-server"]) == CONFIG["LAUREL_AIRFLOW_PORT"]


# --- Who may talk to whom -----------------------------------------------------------------------------------

POLICIES = [each["spec"] for each in of_kind("NetworkPolicy").values()]


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a selector of pods means one with these labels."""
    known = {"In": lambda value, values: value in values, "NotIn": lambda value, values: value not in values}
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        known[each["operator"]](labels.get(each["key"]), each["values"])
        for each in selector.get("matchExpressions", ())
    )


def opened(labels: dict[str, str], direction: str) -> Iterator[tuple[Manifest, int]]:
    """Whom pods with these labels may ask, or are asked by, and at which port."""
    for policy in POLICIES:
        if direction in policy["policyTypes"] and selects(policy["podSelector"], labels):
            for rule in policy.get(direction.lower(), ()):
                for port in rule["ports"]:
                    for peer in rule["from" if direction == "Ingress" else "to"]:
                        yield peer, port["port"]


def labels_of(name: str) -> dict[str, str]:
    return dict(pods()[name]["metadata"]["labels"])


def test_nothing_is_allowed_to_begin_with() -> None:
    everybody = [
        each
        for each in POLICIES
        if each["podSelector"] == {} and set(each["policyTypes"]) == {"Ingress", "Egress"}
    ]
    assert [set(each) for each in everybody] == [{"podSelector", "policyTypes"}]


def test_pods_talk_as_they_must_and_no_more() -> None:
    def may(peers: Iterator[tuple[Manifest, int]], labels: dict[str, str]) -> set[int]:
        return {
            port for peer, port in peers if "podSelector" in peer and selects(peer["podSelector"], labels)
        }

    talk = {
        (asker, asked, port)
        for asker in pods()
        for asked in pods()
        for port in may(opened(labels_of(asker), "Egress"), labels_of(asked))
        & may(opened(labels_of(asked), "Ingress"), labels_of(asker))
    }
    jobs = ("airflow-scheduler", "airflow-dag-processor", "airflow-triggerer", "airflow-worker")
    assert talk == {
        *((asker, "airflow-api-server", 8080) for asker in ("api", *jobs)),
        *((asker, "redis", 6379) for asker in ("airflow-scheduler", "airflow-worker", "migrate")),
    }
    half = {
        (name, direction, port)
        for name in pods()
        for direction in ("Ingress", "Egress")
        for peer, port in opened(labels_of(name), direction)
        if "podSelector" in peer and port not in {port for *pair, port in talk if name in pair}
    }
    assert half == set(), "a way that is open on one end only"


def test_only_the_api_is_reached_from_outside_and_by_the_ingress_only() -> None:
    reached = {
        (name, port, json.dumps(peer))
        for name in pods()
        for peer, port in opened(labels_of(name), "Ingress")
        if "podSelector" not in peer
    }
    ingress = {"namespaceSelector": {"matchLabels": {"laurel/ingress": "true"}}}
    assert reached == {("api", 5000, json.dumps(ingress))}


def test_nobody_reaches_a_clouds_metadata() -> None:
    for name in pods():
        for peer, _ in opened(labels_of(name), "Egress"):
            if "ipBlock" in peer:
                assert peer["ipBlock"]["except"] == ["169.254.0.0/16"]


def test_every_component_that_a_policy_names_exists() -> None:
    named = set()
    for policy in POLICIES:
        sides = [
            rule.get("from", []) + rule.get("to", [])
            for side in ("ingress", "egress")
            for rule in policy.get(side, ())
        ]
        for selector in [
            policy["podSelector"],
            *(peer.get("podSelector", {}) for side in sides for peer in side),
        ]:
            named |= {selector.get("matchLabels", {}).get(COMPONENT)} - {None}
            named |= {value for each in selector.get("matchExpressions", ()) for value in each["values"]}
    assert named <= set(pods())


# --- The order ----------------------------------------------------------------------------------------------


def test_what_migrating_needs_comes_first_and_nothing_of_the_platform_does() -> None:
    first = {
        name_of(each)
        for each in MANIFESTS
        if each["metadata"].get("labels", {}).get("laurel/stage") == "first"
    }
    rest = {name_of(each) for each in MANIFESTS} - first
    assert {"Job/migrate", "Deployment/redis", "Service/redis"} <= first
    kinds = {name.split("/")[0] for name in rest}
    assert not kinds & {
        "Namespace",
        "ServiceAccount",
        "ConfigMap",
        "PersistentVolumeClaim",
        "NetworkPolicy",
        "Job",
    }
    assert {f"Deployment/{name}" for name in of_kind("Deployment") if name != "redis"} <= rest
