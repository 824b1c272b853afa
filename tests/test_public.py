"""The public face: what `import skipsearch as ss` gives, and what it does not load."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import HANG

import skipsearch as ss

ROOT = Path(__file__).parents[1]

# What ARCHITECTURE's public face and the README use, and the types that these give back.
FACE = [
    *("CLASSICS", "Classic", "Cost", "Data", "Design", "EarlyStopping", "Epoch", "Explanation"),
    *("Layout", "Limits", "Recipe", "Resources", "Run", "SkipSearchError", "Space", "Trial"),
    *("build", "classic", "compare", "confirm", "cost", "deepen", "draw_design", "draw_diagram"),
    *("draw_space", "explain", "export", "load_data", "predict", "search", "train"),
    "train_several",
]


def test_the_public_names_are_exactly_these() -> None:
    assert ss.__all__ == FACE
    assert dir(ss) == FACE


@pytest.mark.parametrize("name", FACE)
def test_a_public_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(ss, name)
    if name == "CLASSICS":  # a literal dict; its values are documented
        assert all(isinstance(classic, ss.Classic) for classic in value.values())
        return
    assert value.__name__ == name
    assert value.__module__.startswith("skipsearch.")
    # A dataclass without docstring gets its signature as one.
    assert value.__doc__
    assert not value.__doc__.startswith(f"{name}(")
    assert re.match(r"[^\n]+[.;:]", value.__doc__)


@pytest.mark.parametrize("name", FACE)
def test_a_public_name_is_annotated(name: str) -> None:
    value = getattr(ss, name)
    if inspect.isfunction(value):
        signature = inspect.signature(value)
        assert signature.return_annotation is not inspect.Signature.empty
        for parameter in signature.parameters.values():
            assert parameter.annotation is not inspect.Parameter.empty


def test_every_name_that_readme_and_scripts_use_is_public() -> None:
    pages = [ROOT / "README.md", ROOT / "skipsearch" / "README.md"]
    files = [*pages, *(ROOT / "scripts").glob("*.py")]
    used = {name for file in files for name in re.findall(r"\bss\.([A-Za-z]\w*)", file.read_text())}
    assert {"search", "export", "Design", "train"} <= used
    assert used <= set(FACE)


def test_another_name_is_refused_as_python_does() -> None:
    with pytest.raises(AttributeError, match="module 'skipsearch' has no attribute 'serach'"):
        ss.serach  # noqa: B018
    assert not hasattr(ss, "rank")


def test_the_package_is_typed() -> None:
    assert (Path(inspect.getfile(ss)).parent / "py.typed").exists()


def test_a_type_checker_finds_the_package_from_another_folder(tmp_path: Path) -> None:
    # An editable install through an import hook, as setuptools makes it, is hidden from it.
    (tmp_path / "mine.py").write_text("import skipsearch as ss\n")
    command = [sys.executable, "-m", "mypy", "--follow-imports", "skip", "mine.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout == "Success: no issues found in 1 source file\n"


def test_the_rooms_are_modules_like_all_others() -> None:
    # No room is called as a public function is: importing one never hides the other.
    python("import skipsearch.searching.stopping, skipsearch.artefacts.card, skipsearch as ss")
    rooms = {path.stem for path in (ROOT / "skipsearch").iterdir()}
    assert not rooms & {name for name in FACE if inspect.isfunction(getattr(ss, name))} - {"cost"}


def python(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=HANG)


HEAVY = ("torch", "torchvision", "ray", "optuna", "sklearn", "onnx", "matplotlib")
CHECK = f"import sys; found = sorted({set(HEAVY)!r} & set(sys.modules)); assert not found, found"
LIGHT = "import sys; assert not {'pandas', 'numpy', 'scipy'} & set(sys.modules)"


@pytest.mark.parametrize(
    "program",
    [
        "import skipsearch",
        "from skipsearch import Design, Space, cost, draw_design; cost(Design(layout='conv3 +'))",
        "from skipsearch.cli import main; assert main(['show', 'conv3-bn + relu']) == 0",
        "from skipsearch.cli import main; assert main(['show', 'resnet-20']) == 0",
        "from skipsearch.cli import main; assert main(['show', 'search_spaces/orders.yaml']) == 0",
        "from skipsearch.cli import main; assert main(['check', 'search_spaces/depth.yaml']) == 0",
    ],
)
def test_what_needs_no_tensors_loads_no_tensors(program: str) -> None:
    python(f"{program}; {CHECK}; {LIGHT}")


@pytest.mark.parametrize(
    "program",
    [
        "from skipsearch.analysis import rank;"
        " from skipsearch.metric import ACCURACY, Scale; rank([], (1,), Scale(ACCURACY, 9))",
        "from skipsearch.analysis import pareto;"
        " from skipsearch.metric import ACCURACY, Scale;"
        " pareto([], ('params',), Scale(ACCURACY, 9))",
    ],
)
def test_ranking_needs_neither_torch_nor_ray(program: str) -> None:
    python(f"{program}; {CHECK}")


@pytest.mark.parametrize(
    "words",
    [["train", "conv3-bn + relu", "--epochs", "1", "--seeds", "2"], ["rank", "--help"]],
)
def test_a_command_says_nothing_when_it_ends(words: list[str]) -> None:
    # The libraries below torch complain of what a process leaves behind. Its compiler and symbolic
    # algebra, which most of its optimizers import, take longer than to train a small network.
    program = "import sys; from skipsearch.cli import main; code = main(); "
    slow = "assert not {'torch._dynamo', 'sympy'} & set(sys.modules); sys.exit(code)"
    command = [sys.executable, "-c", program + slow, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=HANG)
    assert done.stdout
    assert done.stderr == ""


DRIVER = "from skipsearch.searching.driver import run_trials"
ARTEFACTS = "import skipsearch.artefacts.writing"
CALLABLE = (
    "import inspect, skipsearch as ss;"
    "from skipsearch import search, export;"
    "assert inspect.isfunction(ss.search) and inspect.isfunction(ss.export);"
    "assert (ss.search, ss.export) == (search, export);"
    "assert ss.search.__module__ == 'skipsearch.run.searching'; "
    "assert ss.export.__module__ == 'skipsearch.run.exporting'"
)


@pytest.mark.parametrize(
    "order", [(DRIVER, CALLABLE, ARTEFACTS, CALLABLE), (ARTEFACTS, CALLABLE, DRIVER, CALLABLE)]
)
def test_search_and_export_stay_functions_though_rooms_bear_their_names(
    order: tuple[str, ...],
) -> None:
    python("; ".join(order))
