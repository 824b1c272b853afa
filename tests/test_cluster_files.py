"""The files of scripts/cluster and what launch_search.py submits, held against what reads them."""

from __future__ import annotations

import argparse
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from ray.autoscaler._private.util import prepare_config, validate_config

from skipsearch.cli.parser import make_parser
from skipsearch.errors import RunError

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "scripts" / "cluster"
CLUSTERS = ("ray-cluster.yaml", "ray-cluster-local.yaml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CLAIM, JOB = yaml.safe_load_all((FOLDER / "rayjob.yaml").read_text())
SPEC = JOB["spec"]["rayClusterSpec"]
HEAD = SPEC["headGroupSpec"]["template"]["spec"]
(WORKERS,) = SPEC["workerGroupSpecs"]
WORKER = WORKERS["template"]["spec"]
LAUNCH = runpy.run_path(str(ROOT / "scripts" / "launch_search.py"))


def cluster(name: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return config


@pytest.mark.parametrize("name", CLUSTERS)
def test_ray_s_validator_accepts_a_cluster_and_refuses_a_misspelt_one(name: str) -> None:
    config = prepare_config(cluster(name))
    validate_config(config)
    with pytest.raises(jsonschema.ValidationError, match="max_worker'"):
        validate_config(config | {"max_worker": 1})


def commands(path: Path) -> list[str]:
    """Every `skipsearch search` or `rank` of a file, in a comment or in a block of code."""
    text = re.sub(r"^# ?", "", path.read_text(), flags=re.MULTILINE)
    text = re.sub(r"\\\n\s*", "", text)
    return re.findall(r"skipsearch ((?:search|rank) [^\"\n#`]*)", text)


def parsed(command: str) -> argparse.Namespace:
    try:
        return make_parser().parse_args(shlex.split(command))
    except SystemExit:
        pytest.fail(f"skipsearch refuses: {command}")


FILES = {
    **{FOLDER / name: 2 for name in CLUSTERS},
    FOLDER / "README.md": 4,
}
COMMANDS = [
    JOB["spec"]["entrypoint"].removeprefix("skipsearch "),
    *(command for path in FILES for command in commands(path)),
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_commands_are_found(path: Path) -> None:
    # Should the search for them ever go blind, the test below would pass on nothing.
    assert len(commands(path)) == FILES[path]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one_that_skipsearch_accepts(command: str) -> None:
    options = parsed(command)
    if command.startswith("search"):
        assert (ROOT / "search_spaces" / PurePosixPath(options.space).name).is_file()
        if options.address is not None:
            assert options.address == "auto"
            for folder in (options.out, options.data_root):
                assert folder.startswith(("/", "~/")), "a job has a working folder of its own"


@pytest.mark.parametrize("path", [FOLDER / "README.md", ROOT / "scripts" / "launch_search.py"])
def test_the_submissions_that_are_shown_are_ones_that_the_script_accepts(path: Path) -> None:
    text = re.sub(r"\\\n\s*", "", path.read_text())
    shown = re.findall(r"python scripts/launch_search\.py (.*--submit.*)", text)
    assert shown
    for command in shown:
        options = LAUNCH["_parser"]().parse_args(shlex.split(command))
        LAUNCH["check_folders"](options)


def submit(*more: str) -> argparse.Namespace:
    """What launch_search.py is asked, with an awkward name of a space."""
    arguments = ["my space's.yaml", "/runs/a b", "--submit", "http://127.0.0.1:8265", *more]
    options: argparse.Namespace = LAUNCH["_parser"]().parse_args(arguments)
    return options


def test_what_is_submitted_is_a_command_that_skipsearch_accepts(tmp_path: Path) -> None:
    options = submit("--data-root", "/data", "--trials", "7", "--gpus-per-trial", "0.5")
    command = LAUNCH["submission"](options, str(tmp_path))
    ours = command[command.index("--") + 1 :]
    assert ours[:3] == ["python", "-m", "skipsearch"]
    there = make_parser().parse_args(ours[3:])
    assert (there.space, there.out, there.address) == ("my space's.yaml", "/runs/a b", "auto")
    assert (there.data, there.data_root, there.trials) == ("digits", "/data", 7)
    assert (there.epochs, there.gpus_per_trial) == (18, 0.5)


def test_what_the_job_client_is_to_do_stands_before_the_search(tmp_path: Path) -> None:
    for more in ([], ["--no-wait"], ["--install"]):
        command = LAUNCH["submission"](submit(*more), str(tmp_path))
        before = command[: command.index("--")]
        assert before[1:5] == ["job", "submit", "--address", "http://127.0.0.1:8265"]
        assert ("--no-wait" in before) == (more == ["--no-wait"])
        environment = json.loads(before[before.index("--runtime-env-json") + 1])
        assert environment["working_dir"] == str(tmp_path)
        needed = environment.get("pip", [])
        assert any(each.startswith("torch>=") for each in needed) == (more == ["--install"])
        assert not any("extra" in each for each in needed)


def test_the_submitted_folder_runs_where_the_package_is_not_installed(tmp_path: Path) -> None:
    space = ROOT / "search_spaces" / "quickstart.yaml"
    LAUNCH["fill"](tmp_path, str(space))
    version = PROJECT["version"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "quickstart.yaml", "skipsearch", f"skipsearch-{version}.dist-info"
    }  # fmt: skip
    assert not list(tmp_path.rglob("__pycache__"))
    code = (
        "from importlib import metadata, util;"
        "print(util.find_spec('skipsearch').origin, metadata.version('skipsearch'))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],  # -S: without what is installed
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(tmp_path / "skipsearch" / "__init__.py"), version]


@pytest.mark.parametrize("name", ["out", "data_root"])
def test_a_folder_that_is_not_one_of_the_head_is_refused(name: str) -> None:
    options = submit()
    setattr(options, name, "runs/here")
    with pytest.raises(RunError, match=f"{name}: runs/here is a folder of the head node"):
        LAUNCH["check_folders"](options)


def test_only_who_has_the_token_reaches_a_cluster() -> None:
    assert SPEC["authOptions"]["mode"] == "token"
    aws, local = map(cluster, CLUSTERS)
    assert "--env RAY_AUTH_MODE=token" in aws["docker"]["run_options"]
    assert "echo 'export RAY_AUTH_MODE=token' >> ~/search/bin/activate" in local["setup_commands"]
    for config in (aws, local):
        assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
        assert not any("dashboard-host=0" in line for line in config["head_start_ray_commands"])
    for line in (*local["head_start_ray_commands"], *local["worker_start_ray_commands"]):
        assert line.startswith(". ~/search/bin/activate; ")


@pytest.mark.parametrize("name", ["RAY_USAGE_STATS_ENABLED", "RAY_memory_monitor_refresh_ms"])
def test_nothing_is_sent_away_and_no_monitor_ends_the_search(name: str) -> None:
    for pod in (HEAD, WORKER):
        assert {"name": name, "value": "0"} in pod["containers"][0]["env"]
    aws, local = map(cluster, CLUSTERS)
    assert f"--env {name}=0" in aws["docker"]["run_options"]
    assert f"echo 'export {name}=0' >> ~/search/bin/activate" in local["setup_commands"]


def test_images_have_the_python_and_the_ray_that_the_project_asks_for() -> None:
    needs = [Requirement(text) for text in PROJECT["dependencies"]]
    (ray,) = [need.specifier for need in needs if need.name == "ray"]
    base = re.search(r"^FROM (\S+)$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    assert base is not None
    assert base[1] == cluster("ray-cluster.yaml")["docker"]["image"]
    tag = re.fullmatch(r"rayproject/ray:([\d.]+)-py(\d)(\d+)-gpu", base[1])
    assert tag is not None
    assert Version(tag[1]) in ray
    assert Version(f"{tag[2]}.{tag[3]}") in SpecifierSet(PROJECT["requires-python"])
    assert tag[1] == SPEC["rayVersion"]


def test_all_pods_have_one_image_and_bounded_resources() -> None:
    pod = yaml.safe_load((FOLDER / "runs-pod.yaml").read_text())["spec"]
    containers = [each["containers"][0] for each in (HEAD, WORKER, pod)]
    assert len({each["image"] for each in containers}) == 1
    for each in containers:
        assert {"cpu", "memory"} <= set(each["resources"]["requests"])
        assert each["resources"]["requests"] == each["resources"]["limits"]


def test_a_worker_has_a_cpu_for_each_trial_on_its_gpus() -> None:
    limits = WORKER["containers"][0]["resources"]["limits"]
    options = parsed(JOB["spec"]["entrypoint"].removeprefix("skipsearch "))
    at_once = int(limits["nvidia.com/gpu"]) / options.gpus_per_trial
    assert int(limits["cpu"]) >= at_once * options.cpus_per_trial
    assert SPEC["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert WORKERS["replicas"] == WORKERS["minReplicas"] == WORKERS["maxReplicas"] >= 1


def mounted(pod: dict[str, Any], folder: str) -> dict[str, Any]:
    """The volume in which a folder of a pod's first container lies."""
    mounts = {m["mountPath"]: m["name"] for m in pod["containers"][0]["volumeMounts"]}
    (name,) = [name for path, name in mounts.items() if PurePosixPath(folder).is_relative_to(path)]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == name]
    return volume


def test_the_run_folder_outlives_the_cluster_and_workers_need_none() -> None:
    options = parsed(JOB["spec"]["entrypoint"].removeprefix("skipsearch "))
    pod = yaml.safe_load((FOLDER / "runs-pod.yaml").read_text())["spec"]
    for each in (HEAD, pod):
        claim = mounted(each, options.out)["persistentVolumeClaim"]["claimName"]
        assert claim == CLAIM["metadata"]["name"]
        assert each["securityContext"]["fsGroup"] == 100
    assert "persistentVolumeClaim" in mounted(HEAD, options.data_root)
    assert "configMap" in mounted(HEAD, options.space)
    assert "volumes" not in WORKER


def test_a_lost_search_is_started_again_and_a_finished_one_leaves_no_cluster() -> None:
    assert (JOB["apiVersion"], JOB["kind"]) == ("ray.io/v1", "RayJob")
    assert JOB["spec"]["backoffLimit"] >= 1
    assert JOB["spec"]["shutdownAfterJobFinishes"] is True
    assert CLAIM["kind"] == "PersistentVolumeClaim"


def strict(schema: Any) -> Any:
    """A schema of Kubernetes that refuses fields it does not name, as the server does."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: strict(each) for name, each in schema.items()}
    is_open = schema.get("x-kubernetes-preserve-unknown-fields", False)
    if schema.get("type") == "object" and "properties" in schema and not is_open:
        schema.setdefault("additionalProperties", False)
    return schema


@pytest.mark.skipif("RAYJOB_CRD" not in os.environ, reason="RAYJOB_CRD names no file of KubeRay's")
def test_the_rayjob_meets_kuberay_s_own_schema() -> None:
    crd = yaml.safe_load(Path(os.environ["RAYJOB_CRD"]).read_text())
    (schema,) = [v["schema"]["openAPIV3Schema"] for v in crd["spec"]["versions"] if v["storage"]]
    schema = strict(schema)
    schema["properties"]["metadata"] = {"type": "object"}  # the server's own, not in the schema
    jsonschema.Draft7Validator(schema).validate(JOB)
    wrong = yaml.safe_load(yaml.safe_dump(JOB).replace("authOptions", "authOption"))
    with pytest.raises(jsonschema.ValidationError, match="authOption'"):
        jsonschema.Draft7Validator(schema).validate(wrong)
