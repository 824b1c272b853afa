"""Imports point down: a walk over every import of the package, at the top or inside a function."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import skipsearch

# The layers, lowest first. A new room or file at the top of the package belongs into this table.
LAYERS = (
    ("errors", "openmp", "defaults"),
    ("table", "plan", "ranges", "text", "intervals", "ram", "ready", "ids", "palette", "terminal"),
    ("operations", "merges"),
    ("layout",),
    ("kinds",),
    ("planning",),
    ("fields",),
    ("canonical",),
    ("design",),
    ("metric",),
    ("recipe", "record", "task", "cost", "early_stopping"),
    ("gallery", "holding"),
    ("axes",),
    ("space", "classics", "anatomy"),
    ("models", "data", "config"),
    ("training", "surrogate", "diagram", "deepening"),
    ("searching", "analysis", "artefacts"),
    ("run",),
    ("cli", "__main__"),
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
FACE = "__init__"  # the lazy public names: it may name every room, and only the cli may read it
MAY_READ_FACE = ("cli", "__main__")
ALONE = ("deepening",)  # nothing imports these rooms but the public face
# The only imports from a neighbour in the same layer.
SIDEWAYS = {("record", "recipe"), ("__main__", "cli")}

# Libraries held to their files: a file, or a folder with all in it.
HOMES = {
    "ray": (
        "searching/cluster.py",
        "searching/probe.py",
        "searching/driver.py",
        "searching/logs.py",
        "searching/searcher.py",
        "searching/session.py",
        "searching/front_end.py",
        "searching/worker.py",
    ),
    "tensorboardX": ("searching/logs.py",),
    "mlflow": ("searching/logs.py",),
    "tifffile": ("data/tiff_files.py",),
    "optuna": (
        "searching/attributes.py",
        "searching/asking.py",
        "searching/drivers.py",
        "searching/open_training.py",
        "searching/opening.py",
        "searching/optuna_trials.py",
        "searching/presence.py",
        "searching/proposers.py",
        "searching/queueing.py",
        "searching/reading.py",
        "searching/recording.py",
        "searching/samplers.py",
        "searching/storage.py",
        "searching/study.py",
        "searching/surrogate.py",
        "searching/write_behind.py",
    ),
    "sqlalchemy": ("searching/reading.py", "searching/storage.py"),
    "onnx": ("artefacts/onnx.py",),
    "onnxruntime": ("artefacts/onnx.py",),
    "onnxscript": ("artefacts/onnx.py",),
    "matplotlib": ("diagram/", "analysis/figures.py"),
    "yaml": ("text.py",),
    "sklearn": ("data/digits.py", "data/dividing.py", "data/folds.py"),
    "scipy": ("analysis/", "surrogate/"),
}
# torchvision and timm import torch.
NEED_TORCH = ("torch", "torchvision", "timm")
WITHOUT_TORCH = (
    *(name for names in LAYERS[: LAYER["models"]] for name in names),
    "diagram",
    "surrogate",
    "analysis",
)


class Import(NamedTuple):
    """One import, whatever its form."""

    line: int
    module: str  # with dots, relative imports resolved


def imports(source: str, package: str) -> Iterator[Import]:
    """Find every import of a file, wherever it stands, import_module("...") among them."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                yield from (Import(node.lineno, alias.name) for alias in node.names)
            case ast.ImportFrom():
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join((*parts, node.module or "")).strip(".")
                module = base if node.level else node.module or ""
                for alias in node.names:
                    yield Import(node.lineno, f"{module}.{alias.name}")
            case ast.Call(
                func=ast.Attribute(attr="import_module" | "__import__")
                | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield Import(node.lineno, name)


def room_of(path: Path) -> str:
    """The first part of a path inside the package: ``models`` for models/ops.py."""
    return path.parts[0].removesuffix(".py")


def reached(found: Import, root: Path) -> str | None:
    """The room of this package that an import reaches, if any."""
    name, _, rest = found.module.partition(".")
    if name != "skipsearch":
        return None
    room = rest.partition(".")[0]
    is_room = room in LAYER or (root / room).is_dir() or (root / f"{room}.py").exists()
    return room if room and is_room else FACE


def wrong(here: Path, found: Import, root: Path) -> str | None:
    """Say what is wrong with one import, if anything."""
    room, path = room_of(here), here.as_posix()
    library = found.module.partition(".")[0]
    homes = HOMES.get(library)
    if homes and not any(path == h or (h.endswith("/") and path.startswith(h)) for h in homes):
        return f"{library} belongs to {', '.join(homes)}"
    if library in NEED_TORCH and room in WITHOUT_TORCH:
        return f"{room} does without torch"
    target = reached(found, root)
    if target is None or target == room:
        return None
    if target == FACE:
        return None if room in MAY_READ_FACE else "only the cli reads the public face"
    if room not in LAYER or target not in LAYER:
        return None  # told once, by ``problems``
    if target in ALONE:
        return f"only the public face imports {target}"
    if LAYER[target] > LAYER[room]:
        return f"{room} (layer {LAYER[room]}) imports {target} (layer {LAYER[target]}) above it"
    if LAYER[target] == LAYER[room] and (room, target) not in SIDEWAYS:
        return f"{room} imports its neighbour {target}"
    return None


def problems(root: Path) -> list[str]:
    """Every import of a package that points up or sideways, or takes a library from its home."""
    found = []
    for file in sorted(root.rglob("*.py")):
        here = file.relative_to(root)
        if here.as_posix() == "__init__.py":
            continue
        if room_of(here) not in LAYER:
            found.append(f"{here.as_posix()}: {room_of(here)} is in no layer")
        package = ".".join(("skipsearch", *here.parent.parts))
        for each in imports(file.read_text(encoding="utf-8"), package):
            complaint = wrong(here, each, root)
            if complaint:
                found.append(f"{here.as_posix()}:{each.line}: {complaint}")
    return list(dict.fromkeys(found))  # once for all the names of one import


PACKAGE = Path(skipsearch.__file__).parent


def test_every_import_points_down_and_every_library_stays_at_home() -> None:
    assert problems(PACKAGE) == []


def modules(root: Path) -> dict[str, Path]:
    """Name every module of the package."""
    named = {}
    for file in root.rglob("*.py"):
        parts = ("skipsearch", *file.relative_to(root).with_suffix("").parts)
        named[".".join(parts).removesuffix(".__init__")] = file
    return named


def graph(root: Path) -> dict[str, set[str]]:
    """Say which modules each module imports, but for the lazy public face."""
    named = modules(root)
    found: dict[str, set[str]] = {}
    for name, file in named.items():
        package = ".".join(("skipsearch", *file.relative_to(root).parent.parts))
        found[name] = set()
        for each in imports(file.read_text(encoding="utf-8"), package):
            target = each.module
            while target and target not in named:
                target = target.rpartition(".")[0]
            if target not in ("", name, "skipsearch"):
                found[name].add(target)
    return found | {"skipsearch": set()}


def test_no_import_goes_round_in_a_circle() -> None:
    TopologicalSorter(graph(PACKAGE)).prepare()


def test_a_circle_is_found(tmp_path: Path) -> None:
    write(tmp_path, "run/__init__.py", "")
    write(tmp_path, "run/a.py", "from skipsearch.run import b")
    write(tmp_path, "run/b.py", "def f():\n    from skipsearch.run.a import g\n")
    with pytest.raises(CycleError):
        TopologicalSorter(graph(tmp_path)).prepare()


def test_the_walk_sees_the_imports_of_today() -> None:
    # Should the walk ever go blind, the test above would pass on nothing.
    edges = {
        (room_of(file.relative_to(PACKAGE)), reached(each, PACKAGE))
        for file in PACKAGE.rglob("*.py")
        for each in imports(file.read_text(encoding="utf-8"), "skipsearch")
    }
    assert {
        ("layout", "errors"),
        ("layout", "operations"),
        ("design", "plan"),
        ("cost", "design"),
        ("record", "recipe"),
        ("models", "plan"),
    } <= edges


def test_no_room_stands_in_two_layers() -> None:
    assert len(LAYER) == sum(map(len, LAYERS))


def up(place: str, room: str, target: str) -> str:
    """What is said of an import that points up."""
    return (
        f"{place}: {room} (layer {LAYER[room]}) imports {target} (layer {LAYER[target]}) above it"
    )


WRONG = {
    "up": (
        "layout.py",
        "from skipsearch.design import Design",
        "layout.py:1: layout (layer ",
    ),
    "up, inside a function": (
        "plan.py",
        "def f():\n    if True:\n        import skipsearch.models.ops as o\n",
        up("plan.py:3", "plan", "models"),
    ),
    "up, from the package": (
        "plan.py",
        "from skipsearch import cost",
        "plan.py:1: plan (layer ",
    ),
    "up, relative": (
        "layout.py",
        "from .design import Design",
        "layout.py:1: layout (layer ",
    ),
    "up, relative, from a room": (
        "models/ops.py",
        "from ..training import train",
        up("models/ops.py:1", "models", "training"),
    ),
    "up, relative, a name": ("models/ops.py", "from .. import training", "models/ops.py:1: models"),
    "up, by import_module": (
        "space.py",
        "import importlib\nimportlib.import_module('skipsearch.searching.study')",
        up("space.py:2", "space", "searching"),
    ),
    "up, for types": (
        "design.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from skipsearch import space",
        up("design.py:3", "design", "space"),
    ),
    "up, in a class": (
        "recipe.py",
        "class A:\n    from skipsearch.run import Run",
        up("recipe.py:2", "recipe", "run"),
    ),
    "sideways": (
        "cost.py",
        "import skipsearch.recipe",
        "cost.py:1: cost imports its neighbour reci",
    ),
    "sideways, the wrong way": (
        "recipe.py",
        "from .record import Trial",
        "recipe.py:1: recipe imp",
    ),
    "between siblings": (
        "searching/driver.py",
        "from skipsearch.analysis.ranking import rank",
        "searching/driver.py:1: searching imports its neighbour analysis",
    ),
    "training for types": (
        "data/images.py",
        "if TYPE_CHECKING:\n    from skipsearch.training import train",
        up("data/images.py:2", "data", "training"),
    ),
    "the public face": (
        "analysis/report.py",
        "from skipsearch import Design",
        "analysis/report.py:1: only the cli reads the public face",
    ),
    "the public face, whole": ("run.py", "import skipsearch as ss", "run.py:1: only the cli reads"),
    "a room that stands alone": (
        "run/folder.py",
        "from skipsearch.deepening import deepen",
        "run/folder.py:1: only the public face imports deepening",
    ),
    "a new file": ("graph.py", "", "graph.py: graph is in no layer"),
    "a new room": ("zoo/__init__.py", "", "zoo/__init__.py: zoo is in no layer"),
    "yaml": ("design.py", "import yaml", "design.py:1: yaml belongs to text.py"),
    "ray": (
        "searching/study.py",
        "from ray import tune",
        "searching/study.py:1: ray belongs to searching/cl",
    ),
    "mlflow": ("run.py", "import mlflow", "run.py:1: mlflow belongs to searching/logs.py"),
    "optuna": (
        "run.py",
        "def f():\n    import optuna.trial",
        "run.py:2: optuna belongs to searching/att",
    ),
    "optuna in search": (
        "searching/__init__.py",
        "import optuna",
        "searching/__init__.py:1: optuna belo",
    ),
    "onnx": (
        "artefacts/source.py",
        "import onnxruntime",
        "artefacts/source.py:1: onnxruntime belongs to",
    ),
    "matplotlib": (
        "analysis/report.py",
        "from matplotlib import pyplot",
        "analysis/report.py:1: matplotlib belongs to diagram/, analysis/figures.py",
    ),
    "sklearn": ("analysis/effects.py", "import sklearn", "analysis/effects.py:1: sklearn belongs"),
    "scipy": ("training/engine.py", "import scipy.stats", "training/engine.py:1: scipy belongs to"),
    "torch below models": ("cost.py", "from torch import nn", "cost.py:1: cost does without torch"),
    "torch in a function": (
        "space.py",
        "def f():\n    import torch.nn",
        "space.py:2: space does without torch",
    ),
    "torch in analysis": ("analysis/ranking.py", "import torch", "analysis/ranking.py:1: analysis"),
    "torch in anatomy": ("anatomy.py", "import torchvision", "anatomy.py:1: anatomy does without"),
}


def write(root: Path, path: str, source: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(source)


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_import_is_found(case: str, tmp_path: Path) -> None:
    path, source, complaint = WRONG[case]
    write(tmp_path, path, source)
    (found,) = problems(tmp_path)
    assert found.startswith(complaint)


RIGHT = {
    "__init__.py": "from skipsearch.cli import main\nimport ray",
    "layout.py": "import re\nfrom skipsearch.errors import LayoutError",
    "record.py": "from skipsearch.design import Design\nfrom skipsearch.recipe import Recipe",
    "text.py": "import yaml",
    "models/network.py": "import torch\nfrom skipsearch.models.merges import A\nfrom . import ops",
    "training/engine.py": (
        "from skipsearch.models import build\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from skipsearch.data import Split\n"
    ),
    "data/digits.py": "import sklearn.datasets\nimport torch",
    "searching/storage.py": "import optuna, sqlalchemy",
    "searching/driver.py": "import ray.tune\nfrom skipsearch.training import train",
    "searching/logs.py": "import mlflow\nimport tensorboardX\nfrom ray.tune import Callback",
    "searching/study.py": "import optuna",
    "searching/surrogate.py": "import optuna",
    "searching/samplers.py": "import optuna.samplers",
    "searching/proposers.py": "from optuna.trial import FrozenTrial",
    "artefacts/onnx.py": "import onnx, onnxruntime, onnxscript",
    "analysis/figures.py": "import matplotlib.pyplot\nimport scipy",
    "diagram/look.py": "import matplotlib\nfrom skipsearch.anatomy import step_word",
    "run.py": "from skipsearch.searching import driver\nfrom skipsearch.analysis import ranking",
    "cli.py": "import skipsearch as ss\nfrom skipsearch import Design",
    "__main__.py": "from skipsearch.cli import main",
}


def test_what_is_allowed_is_not_refused(tmp_path: Path) -> None:
    for path, source in RIGHT.items():
        write(tmp_path, path, source)
    assert problems(tmp_path) == []


def test_rooms_that_do_not_exist_yet_are_no_problem(tmp_path: Path) -> None:
    assert problems(tmp_path) == []
