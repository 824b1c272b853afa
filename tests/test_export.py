"""Export: what is written computes what the module computes, reads well, and needs no pickle."""

import ast
import copy
import itertools
import json
import math
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from strategies import designs
from torch import Tensor, nn

from skipsearch.artefacts import onnx, program
from skipsearch.artefacts.card import Card
from skipsearch.artefacts.checking import check_artefacts
from skipsearch.artefacts.program import pickled_members
from skipsearch.artefacts.source import source
from skipsearch.artefacts.writing import check_request, write_artefacts
from skipsearch.classics import BOTTLENECK, CLASSICS, DENSE, FULL_PREACTIVATION, ORIGINAL, PLAIN
from skipsearch.cost import cost
from skipsearch.design import Design
from skipsearch.errors import DesignError, ExportError
from skipsearch.intervals import wilson
from skipsearch.merges import MERGES
from skipsearch.models import build
from skipsearch.planning import SHORTCUTS
from skipsearch.recipe import Recipe
from skipsearch.record import Measurement

LAYOUTS = (
    ORIGINAL,
    FULL_PREACTIVATION,
    PLAIN,
    "conv3-bn-relu-conv3 + bn-relu",
    "relu-conv3-bn-relu-conv3-bn +",
    "conv1-bn-relu-conv3-bn-relu-conv1-bn0 + relu",
    "conv1-bn-relu6-dw3-bn-relu6-conv1-bn +",
    "dw7-ln-conv1-gelu-conv1-scale +",
    "bn-silu-dropout-conv3-gn-dropout-conv5-se +",
    "conv3-relu-conv3-scale-se-scale + conv1-bn0-dw3-gelu",
    "ln-conv1-conv3-gn +",
    "dw3-bn-relu + relu",
)
STEMS = (
    "conv3",
    "conv7-pool",
    "conv7-bn-relu-pool",
    "conv3-bn-relu-conv3-bn-relu-conv3-pool",
    "conv3-bn0-se-scale-gn",
)
PER_STAGE = (
    {"layout": (ORIGINAL, PLAIN, ORIGINAL)},
    {"layout": (DENSE, FULL_PREACTIVATION, DENSE), "merge": ("cat", "add", "cat")},
    {"shortcut": ("pad", "proj", "avg-proj"), "stem_width": 4},
    {"shortcut": ("proj-all", "omit", "proj"), "layout": FULL_PREACTIVATION},
    {"merge": ("add", "cat", "add"), "drop_path": 0.3},
    {"layout": BOTTLENECK, "bottleneck_ratio": (1.0, 0.25, 0.3)},
    {"layout": BOTTLENECK, "bottleneck_ratio": 0.3, "widths": (6, 7, 9)},
    {"layout": BOTTLENECK, "bottleneck_ratio": 0.01},
    {"layout": BOTTLENECK, "groups": (1, 2, 4), "widths": (8, 8, 16)},
    {"layout": BOTTLENECK, "groups": 4, "widths": (8, 8, 16)},
    {"shortcut": "avg-proj", "widths": (8, 8, 16), "stem_width": 4},
    {"shortcut": "omit", "drop_path": 0.5, "depths": (2, 3, 1)},
    {"layout": DENSE, "merge": "cat", "drop_path": 0.5, "compression": 0.3, "stem_width": 5},
    {"layout": FULL_PREACTIVATION, "depths": (1, 1, 1), "stem_width": 4},
    {"layout": DENSE, "merge": "dual", "growth": (2, 3, 4), "bottleneck_ratio": 2.0},
    {
        "layout": ORIGINAL,
        "merge": "dual",
        "shortcut": ("pad", "omit", "proj-all"),
        "drop_path": 0.3,
    },
    {"layout": "conv3-gn + gn-conv1", "merge": "dual", "depths": (1, 2, 3), "growth": 2},
    {"layout": FULL_PREACTIVATION, "merge": ("dual", "cat", "dual"), "shortcut": "avg-proj"},
    {"links": ("0>1", "1>2", "2>3", "0>3")},
    {"links": ("0>1", "0>3"), "link_shortcut": "pad", "layout": FULL_PREACTIVATION},
    {"links": ("0>2", "1>3"), "link_shortcut": "avg-proj", "merge": "cat"},
    {"links": ("0>2", "1>2", "2>3"), "link_merge": "cat", "layout": "conv3-bn + bn0"},
    {"links": ("0>1", "1>2"), "layout": "conv3-bn + relu-conv3-bn0-dropout", "dropout": 0.2},
    {"links": ("0>2",), "shortcut": "omit", "depths": (1, 1, 1), "drop_path": 0.3},
    {"links": ("0>3",), "merge": "dual", "depths": (1, 2, 3), "shortcut": "proj-all"},
    {"head": "conv1-bn-relu6-mean-dropout", "head_width": 12, "dropout": 0.2},
    {"head": "mean-ln-conv1-silu", "layout": FULL_PREACTIVATION},
    {"head": "bn0-conv3-se-scale-mean-bn0"},
    # A shortcut of factor 0 is none, but where it is a projection or "after" follows links.
    {"shortcut_scale": 0.0, "shortcut": "pad"},
    {"shortcut_scale": 0.0, "shortcut": ("omit", "proj", "pad"), "depths": (1, 2, 1)},
    {"shortcut_scale": 0.0, "shortcut": "omit", "depths": (1, 1, 2), "links": ("1>3",)},
    {"shortcut_scale": 0.0, "shortcut": "avg-proj", "layout": FULL_PREACTIVATION},
    # Stage 1 keeps its shape, so that its word "pad" says nothing; the next ones are proj-all.
    {"shortcut": ("pad", "proj-all", "proj-all"), "widths": (6, 6, 8)},
)


def run_source(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "model"}
    exec(compile(text, "model.py", "exec"), names)
    return names


def by_position(of: nn.Module, to: nn.Module) -> None:
    """Give one module the state of another, entry by entry."""
    values = list(of.state_dict().values())
    to.load_state_dict(dict(zip(to.state_dict(), values, strict=True)))


def stir(model: nn.Module, channels: int, size: int = 12) -> nn.Module:
    """Move parameters away from 0 and 1 and running statistics away from those of a new model."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim < 2:
                parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.5)
        model.train()(torch.randn(4, channels, size, size, generator=generator) + 0.5)
    return model


def assert_same_network(design: Design, channels: int = 2, classes: int = 3) -> None:
    """The source has the library's weights at the start, its outputs, gradients and size."""
    names = run_source(source(design, channels, classes, image_size=9))
    library = build(design, channels, classes, seed=5)
    torch.manual_seed(5)
    written = names["Network"]()
    pairs = zip(library.state_dict().values(), written.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert sum(p.numel() for p in written.parameters()) == names["PARAMETERS"]
    by_position(stir(library, channels), written)
    for train, height, width in ((True, 9, 7), (False, 12, 10)):
        images = torch.randn(3, channels, height, width)
        outputs = []
        for model in (library, written):
            torch.manual_seed(1)  # for dropout and stochastic depth
            outputs.append(model.train(train)(images))
            model.zero_grad()
            outputs[-1].square().sum().backward()
        assert outputs[0].abs().max() > 0
        assert torch.equal(*outputs)
        for a, b in zip(library.parameters(), written.parameters(), strict=True):
            assert a.grad is not None
            assert b.grad is not None
            # What several operations read has a sum for its gradient, in an order of autograd's.
            assert (a.grad - b.grad).norm() <= 1e-5 * a.grad.norm() + 1e-6


# --- the source is the network -------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_source_equals_the_library_under_every_shortcut_and_merge(layout: str) -> None:
    one_width = layout.startswith("dw3-bn-relu")  # depthwise alone keeps its channels
    for shortcut, merge in itertools.product(SHORTCUTS, MERGES):
        if one_width and merge in ("cat", "dual"):
            continue
        design = Design(
            layout=layout,
            shortcut=shortcut,
            merge=merge,
            depths=(2, 2),
            # From 16 channels on: oneDNN 3.12 damages memory below (models.ops.NarrowProjection).
            widths=(16, 16) if one_width else (16, 24),
            bottleneck_ratio=0.5,
            growth=1,  # so that "pad" never has to lead to fewer channels
            dropout=0.2,
        )
        assert_same_network(design)


@pytest.mark.parametrize("fields", PER_STAGE, ids=str)
def test_source_equals_the_library_where_stages_differ(fields: dict[str, Any]) -> None:
    values = {"layout": ORIGINAL, "depths": (2, 2, 2), "widths": (4, 6, 8), **fields}
    assert_same_network(Design(**values))


@pytest.mark.parametrize("stem", STEMS)
def test_source_equals_the_library_behind_every_stem(stem: str) -> None:
    for layout in (ORIGINAL, FULL_PREACTIVATION):
        assert_same_network(Design(layout=layout, stem=stem, depths=(1, 2), widths=(4, 6)))


@pytest.mark.parametrize("merge", MERGES)
def test_source_drops_what_the_library_drops(merge: str) -> None:
    layout = "bn-relu-dropout-conv3-dropout-conv3 + dropout"
    fields = {"layout": layout, "merge": merge, "depths": (3, 3), "widths": (4, 6)}
    assert_same_network(Design(**fields, drop_path=0.5, dropout=0.4))
    without = source(Design(**fields, dropout=0.0))
    assert "Dropout" not in without.replace(layout, "")
    assert "DropPath" not in without


@settings(max_examples=60, deadline=None, database=None)
@given(designs())
def test_source_equals_the_library_for_any_design(design: Design) -> None:
    if re.search(r"\bln\b", str(design.to_dict())):
        # It makes channels_last of what a shortcut reads: see models.ops.NarrowProjection.
        design = design.replace(
            widths=tuple(16 * width for width in design.widths), stem_width=16 * design.stem_width
        )
    assert_same_network(design)


@pytest.mark.parametrize("name", CLASSICS)
def test_every_classic_has_its_size_in_its_source(name: str) -> None:
    classic = CLASSICS[name]
    text = source(
        classic.design, classic.in_channels, classic.classes, image_size=classic.image_size
    )
    names = run_source(text)
    with torch.device("meta"):
        written = names["Network"]()
        library = build(classic.design, classic.in_channels, classic.classes)
    assert sum(p.numel() for p in written.parameters()) == names["PARAMETERS"] == classic.params
    shapes = [[v.shape for v in m.state_dict().values()] for m in (written, library)]
    assert shapes[0] == shapes[1]


# --- the source reads well -----------------------------------------------------------------------


def test_source_of_a_thousand_layers_fits_on_two_pages() -> None:
    assert source(CLASSICS["preresnet-1001"].design).count("\n") < 120


def test_source_reads_as_its_author_would_have_written_it() -> None:
    text = source(CLASSICS["preresnet-110"].design)
    block = """
    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.bn1(x)
        x = F.relu(x)
        if self.projection is not None:
            shortcut = self.projection(x)
        x = self.conv1(x)
        x = self.bn2(x)
        x = F.relu(x)
        x = self.conv2(x)
        return x + shortcut
"""
    assert block in text
    assert "self.stage2 = nn.Sequential(Block(16, 32, stride=2), *[Block(32, 32)" in text
    assert "bn-relu-conv3-bn-relu-conv3 +" in text
    assert "dropout" not in text  # no field without effect, no helper without use


NASTY = Card(
    name='a "nasty\\name"',
    run="r" * 120,
    space='"""; raise SystemExit; """',
    data='C:\\new\\x41 set: it\'s "quoted"',
    mean=(0.5,) * 3,
    std=(0.25,) * 3,
    class_names=("a", "b"),
    recipe=Recipe(epochs=81),
    seed=11,
    validation=Measurement(0.5, 10, wilson(0.5, 10)),
    test=Measurement(0.9312, 10_000, wilson(0.9312, 10_000), baseline=0.1),
)


def test_the_head_of_the_source_says_where_it_comes_from() -> None:
    text = source(Design(layout=ORIGINAL), 3, 2, card=NASTY)
    head = " ".join(str(ast.get_docstring(ast.parse(text))).split())
    for part in (
        'a "nasty\\name": an image classifier in one file that needs torch alone',
        f"design {Design(layout=ORIGINAL).id}",
        f"run {'r' * 120}, space " + '"""; raise SystemExit; """',
        'data C:\\new\\x41 set: it\'s "quoted"',
        "training 81 epochs on train, seed 11",
        "test accuracy 93.12 % of 10,000 images (95 % interval 92.61 to 93.60 %)",
        "test baseline 10.00 %, the most frequent class for every image",
        "(value / 255 - mean) / std in each channel, with mean 0.5, 0.5, 0.5 and std 0.25,",
        "The classes have their names in card.json.",
        'network.load_state_dict(load_file("model.safetensors"))',
    ):
        assert part in head
    assert run_source(text)["PARAMETERS"] > 0


def test_no_line_of_the_head_is_empty_or_broken_inside_a_layout() -> None:
    layouts = (ORIGINAL, PLAIN, FULL_PREACTIVATION)
    head = source(Design(layout=layouts)).split("Images (N")[0]
    assert "\n\n" not in head.split("\n\n", 1)[1].rstrip()
    assert all(layout in head.replace("\n", " ") for layout in layouts)


def some_designs() -> list[Design]:
    product = itertools.product(LAYOUTS[:-1], SHORTCUTS, MERGES)
    small = [
        Design(
            layout=layout,
            shortcut=s,
            merge=m,
            growth=1,
            depths=(1, 3),
            widths=(4, 6),
            drop_path=0.1,
        )
        for layout, s, m in product
    ]
    values = {"layout": ORIGINAL, "depths": (2, 2, 2), "widths": (4, 6, 8)}
    return small + [Design(**{**values, **fields}) for fields in PER_STAGE]


def test_source_passes_ruff(tmp_path: Path) -> None:
    pytest.importorskip("ruff")
    for i, design in enumerate(some_designs()):
        (tmp_path / f"small{i}.py").write_text(source(design))
    for name, classic in CLASSICS.items():
        (tmp_path / f"{name}.py").write_text(source(classic.design, 3, classic.classes))
    (tmp_path / "nasty.py").write_text(source(Design(layout=ORIGINAL), 3, 2, card=NASTY))
    for verb in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *verb, "--isolated", "--line-length", "100"]
        done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def test_source_imports_torch_alone() -> None:
    for design in some_designs():
        imported = set()
        for node in ast.walk(ast.parse(source(design))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).partition(".")[0])
        assert imported <= {"torch", "math", "functools"}


def test_source_refuses_sizes_that_no_network_has() -> None:
    with pytest.raises(DesignError, match="classes: 0 is not a positive whole number"):
        source(Design(layout=PLAIN), classes=0)


# --- the folder ----------------------------------------------------------------------------------

SIZES = {"in_channels": 2, "image_size": 9, "classes": 3}
EXPORTED = {
    "pad": Design(layout=ORIGINAL, shortcut="pad", depths=(1, 2), widths=(4, 6)),
    "proj": Design(layout=FULL_PREACTIVATION, depths=(1, 2), widths=(4, 6), drop_path=0.1),
    "proj-all": Design(
        layout="dw7-ln-conv1-gelu-conv1-scale +",
        shortcut="proj-all",
        depths=(1, 1),
        widths=(8, 12),
        bottleneck_ratio=4.0,
    ),
    "avg-proj": Design(
        layout="conv1-bn-relu-conv3-gn-silu-conv1-bn0-se + relu",
        shortcut="avg-proj",
        depths=(1, 2),
        widths=(8, 12),
        stem="conv7-pool",
        groups=2,
        bottleneck_ratio=0.5,
    ),
    "omit": Design(
        layout="conv1-bn-relu6-dw3-bn-relu6-conv1-bn +",
        shortcut="omit",
        depths=(1, 2),
        widths=(4, 6),
        bottleneck_ratio=2.0,
    ),
    "cat": Design(layout=DENSE, merge="cat", depths=(2, 2), widths=(4, 4), dropout=0.2),
    "plain": Design(layout=PLAIN, depths=(1, 1), widths=(4, 6)),
}


def trained(design: Design) -> nn.Module:
    return stir(build(design, SIZES["in_channels"], SIZES["classes"]), SIZES["in_channels"])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    """One export in every format, and its module."""
    model = trained(EXPORTED["proj"])
    out = tmp_path_factory.mktemp("exported") / "winner"
    card = Card(mean=(0.25, 0.5), std=(0.2, 0.3), class_names=("ant", "bee", "\u00e9l\u00e9phant"))
    write_artefacts(model, EXPORTED["proj"], out, **SIZES, card=card)
    return out, model


@pytest.fixture
def folder(exported: tuple[Path, nn.Module], tmp_path: Path) -> Path:
    """A copy of the export, to be spoilt."""
    return Path(shutil.copytree(exported[0], tmp_path / "winner"))


@pytest.mark.parametrize("name", EXPORTED)
def test_every_artefact_agrees_with_its_module(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    design = EXPORTED[name]
    model = trained(design)
    before = copy.deepcopy(model.state_dict())
    differences = write_artefacts(model, design, tmp_path / "out", **SIZES)
    assert set(differences) == {"model.safetensors", "model.py", "model.pt2", "model.onnx"}
    assert differences["model.safetensors"] == differences["model.py"] == 0.0
    assert all(0.0 <= difference < 1e-4 for difference in differences.values())
    assert Design.load(tmp_path / "out/design.yaml") == design
    assert capsys.readouterr() == ("", "")
    # The module is left as it was.
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    now = model.state_dict()
    assert before.keys() == now.keys()
    assert all(torch.equal(before[name], now[name]) for name in now)


def test_program_and_onnx_take_any_number_of_images(exported: tuple[Path, nn.Module]) -> None:
    out, model = exported
    network = copy.deepcopy(model).eval()
    loads: tuple[Callable[[], Callable[[Tensor], Tensor]], ...] = (
        lambda: program.load(out / "model.pt2"),
        lambda: onnx.load(out / "model.onnx"),
    )
    for load in loads:
        run = load()
        for n in (1, 2, 3, 17):
            images = torch.randn(n, 2, 9, 9)
            torch.testing.assert_close(run(images), network(images), atol=1e-5, rtol=1e-5)


def test_artefacts_load_without_skipsearch_and_without_pickle(
    exported: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    out, model = exported
    images = torch.randn(3, 2, 9, 9)
    with torch.no_grad():
        logits = copy.deepcopy(model).eval()(images)
    save_file({"images": images, "logits": logits}, tmp_path / "expected.safetensors")
    script = f"""
import sys
import numpy, onnxruntime, torch
from safetensors.torch import load_file

sys.modules["skipsearch"] = None  # an import of it fails
found = []
sys.addaudithook(lambda event, args: found.append(args) if event == "pickle.find_class" else None)
expected = load_file({str(tmp_path / "expected.safetensors")!r})
from model import Network
network = Network()
network.load_state_dict(load_file("model.safetensors"))
runs = {{"source": network.eval(), "program": torch.export.load("model.pt2").module()}}
for name, run in runs.items():
    torch.testing.assert_close(run(expected["images"]), expected["logits"])
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
(logits,) = session.run(["logits"], {{"images": expected["images"].numpy()}})
numpy.testing.assert_allclose(logits, expected["logits"], atol=1e-5, rtol=1e-5)
assert not found, found
"""
    command = [sys.executable, "-B", "-c", script]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_source_checks_itself(folder: Path) -> None:
    command = [sys.executable, "-B", "model.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert lines[0] == "image        -> (1, 2, 9, 9)"
    assert re.fullmatch(r"stem +-> \(1, 4, 9, 9\) +\d+ parameters", lines[1])
    assert re.fullmatch(r"network +-> \(1, 3\) +1,\d+ parameters", lines[-2])
    known = cost(EXPORTED["proj"], 2, 9, 3)
    assert lines[-1] == f"{known.params:,} parameters, {known.macs:,} multiply-adds"


CHECK_ALL = """
import pathlib, runpy, sys
sys.modules["skipsearch"] = None  # an import of it fails
for path in sorted(pathlib.Path().glob("*.py")):
    try:
        runpy.run_path(str(path), None, "__main__")
    except SystemExit as end:
        print(end)
"""


def self_checks(texts: Sequence[str], tmp_path: Path) -> list[str]:
    """Run sources as ``python model.py`` does; return what each prints last."""
    for i, text in enumerate(texts):
        (tmp_path / f"model{i:02}.py").write_text(text)
    command = [sys.executable, "-B", "-c", CHECK_ALL]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [part.splitlines()[-1] for part in done.stdout.split("image        -> ")[1:]]


SMALL = {"layout": ORIGINAL, "depths": (1, 2), "widths": (4, 6), "growth": 1}
FAMILIES = (
    *({"merge": merge} for merge in MERGES),
    *({"shortcut": shortcut} for shortcut in SHORTCUTS),
    {"layout": PLAIN},
    {"links": ("0>2",), "layout": "conv1-bn-relu6-dw3-bn-se + relu"},
    {"links": ("0>1", "1>2"), "link_merge": "cat", "groups": 2},
    {"head": "conv1-bn-relu6-mean-dropout", "head_width": 12, "stem": "conv7-pool"},
)


def test_every_family_prints_what_cost_counts_or_that_the_file_is_wrong(tmp_path: Path) -> None:
    designs = [Design(**{**SMALL, **fields}) for fields in FAMILIES]
    known = [cost(design, 2, 9, 3) for design in designs]
    texts = [source(design, 2, 3, image_size=9) for design in designs]
    wrong = [
        texts[0].replace(f"PARAMETERS = {known[0].params:_}", "PARAMETERS = 2_000"),
        texts[0].replace(f"MULTIPLY_ADDS = {known[0].macs:_}", "MULTIPLY_ADDS = 9"),
    ]
    assert self_checks([*texts, *wrong], tmp_path) == [
        *(f"{k.params:,} parameters, {k.macs:,} multiply-adds" for k in known),
        f"but this file says 2,000 and {known[0].macs:,}",
        f"but this file says {known[0].params:,} and 9",
    ]


def test_no_artefact_holds_a_pickle(exported: tuple[Path, nn.Module], tmp_path: Path) -> None:
    for path in exported[0].iterdir():
        assert pickled_members(path.read_bytes(), path.name) == []
    # What the scan must find: a pickle, one in torch's archive, and torch.export's own habit.
    assert pickled_members(pickle.dumps({"a": 1}), "plain") == ["plain"]
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pt")
    assert pickled_members((tmp_path / "a.pt").read_bytes()) == ["a/data.pkl"]
    usual = torch.export.export(nn.ReLU(), (torch.ones(2),))
    torch.export.save(usual, tmp_path / "usual.pt2")
    assert any("sample_inputs" in m for m in pickled_members((tmp_path / "usual.pt2").read_bytes()))


def test_onnx_says_what_it_is(exported: tuple[Path, nn.Module]) -> None:
    import onnx as onnx_library

    model = onnx_library.load(exported[0] / "model.onnx")
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    (images,), (logits,) = model.graph.input, model.graph.output
    shapes = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (images, logits)
    ]
    assert (images.name, logits.name) == ("images", "logits")
    assert shapes == [["batch", 2, 9, 9], ["batch", 3]]


def test_onnx_holds_what_a_picture_needs(exported: tuple[Path, nn.Module]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(exported[0] / "model.onnx")
    held = session.get_modelmeta().custom_metadata_map
    assert (held["design"], held["precision"]) == (EXPORTED["proj"].id, "fp32")
    assert json.loads(held["class_names"]) == ["ant", "bee", "\u00e9l\u00e9phant"]
    assert (json.loads(held["mean"]), json.loads(held["std"])) == ([0.25, 0.5], [0.2, 0.3])
    assert (held["channels"], held["image_size"]) == ("2", "9")
    assert "must have the size of the training images" in held["pictures"]


def test_programs_do_not_name_files_of_this_machine(exported: tuple[Path, nn.Module]) -> None:
    here = str(Path(torch.__file__).parent).encode()
    for name in ("model.pt2", "model.onnx"):
        assert here not in (exported[0] / name).read_bytes()


def test_weights_of_two_gigabytes_go_beside_the_onnx_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx, "LARGEST_FILE", 0)
    design = EXPORTED["plain"]
    write_artefacts(trained(design), design, tmp_path / "out", **SIZES, formats=("onnx",))
    assert (tmp_path / "out/model.onnx.data").exists()


def test_without_source_the_weights_bear_the_names_of_the_library(tmp_path: Path) -> None:
    design = EXPORTED["pad"]
    model = trained(design)
    differences = write_artefacts(model, design, tmp_path / "out", **SIZES, formats=())
    assert differences == {"model.safetensors": 0.0}
    held = {path.name for path in (tmp_path / "out").iterdir()}
    assert held == {"design.yaml", "model.safetensors", "card.md", "card.json"}
    again = build(Design.load(tmp_path / "out/design.yaml"), 2, 3)
    again.load_state_dict(load_file(tmp_path / "out/model.safetensors"))
    pairs = zip(again.parameters(), model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert "ss.build" in (tmp_path / "out/card.md").read_text()


def test_channels_last_and_half_precision_modules_are_exported(tmp_path: Path) -> None:
    design = EXPORTED["pad"]
    model = trained(design).to(torch.bfloat16, memory_format=torch.channels_last)
    out = tmp_path / "out"
    assert write_artefacts(model, design, out, **SIZES, formats=("source",))["model.py"] == 0.0
    assert all(parameter.dtype == torch.bfloat16 for parameter in model.parameters())


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_is_computed_in_and_stays_close(precision: str, tmp_path: Path) -> None:
    design = EXPORTED["proj"]
    model = trained(design)
    formats = ["source", "program"] + ["onnx"] * (precision == "fp16")
    half = write_artefacts(
        model, design, tmp_path / "half", **SIZES, formats=formats, precision=precision
    )
    images = torch.randn(7, 2, 9, 9)
    with torch.no_grad():
        logits = copy.deepcopy(model).eval()(images)
    largest = logits.abs().max().item()
    rounding = {"fp16": 2**-11, "bf16": 2**-8}[precision]
    for difference in half.values():
        assert 0.1 * rounding < difference / largest < 10 * rounding
    weights = load_file(tmp_path / "half/model.safetensors")
    kinds = {value.dtype for value in weights.values() if value.is_floating_point()}
    assert kinds == {{"fp16": torch.float16, "bf16": torch.bfloat16}[precision]}
    runs = [program.load(tmp_path / "half/model.pt2")]
    if precision == "fp16":
        runs.append(onnx.load(tmp_path / "half/model.onnx"))
    for run in runs:
        for n in (1, 2, 7):  # float32 in and out, for any number of images
            found = run(images[:n])
            assert found.dtype == torch.float32
            assert (found - logits[:n]).abs().max() < 10 * rounding * largest
    page = (tmp_path / "half/card.md").read_text()
    assert f"The weights are rounded to {precision}" in page
    assert all(value.dtype == torch.float32 for value in model.parameters())


def test_what_half_precision_cannot_hold_is_refused(tmp_path: Path) -> None:
    design = EXPORTED["pad"]
    model = trained(design)
    with torch.no_grad():
        next(model.parameters()).mul_(1e6)
    with pytest.raises(ExportError, match=r"model\.safetensors: its outputs are not finite"):
        write_artefacts(model, design, tmp_path / "out", **SIZES, formats=(), precision="fp16")
    write_artefacts(model, design, tmp_path / "out", **SIZES, formats=(), precision="bf16")


def test_a_precision_that_cannot_be_had_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"'fp61' is not one of fp32, fp16, bf16 .*'fp16'\?"):
        check_request(tmp_path / "out", ("source",), "fp61")
    with pytest.raises(ExportError, match="no bf16 convolution on the CPU to check 'onnx' with"):
        check_request(tmp_path / "out", ("source", "onnx"), "bf16")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_module_on_a_gpu_stays_there(tmp_path: Path) -> None:
    design = EXPORTED["proj"]
    model = trained(design).cuda()
    differences = write_artefacts(model, design, tmp_path / "out", **SIZES)
    assert all(difference < 1e-4 for difference in differences.values())
    assert all(parameter.is_cuda for parameter in model.parameters())


# --- refusals ------------------------------------------------------------------------------------


def save_as_before(weights: dict[str, Tensor], path: Path) -> None:
    """Write weights under the header that the file has."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    save_file(weights, path, header)


def spoil_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["stage1.0.conv1.weight"] *= 1.1
    save_as_before(weights, folder / "model.safetensors")


def drop_a_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["stem.weight"]
    save_as_before(weights, folder / "model.safetensors")


def replace_in(name: str, old: str, new: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return spoil


def truncate(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return spoil


def other_onnx(folder: Path) -> None:
    import onnx as onnx_library

    model = onnx_library.load(folder / "model.onnx")
    bias = next(v for v in model.graph.initializer if v.dims == [3])
    bias.raw_data = bias.raw_data[::-1]
    onnx_library.save(model, folder / "model.onnx")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            spoil_weights,
            r"model\.safetensors: its outputs differ from the module's by up to [\d.e-]+,"
            r" and [\d.e-]+ is allowed \(tolerance 0\.0001 x largest output [\d.]+\)",
        ),
        (drop_a_weight, r"model\.safetensors: its names and shapes are not those"),
        (truncate("model.safetensors"), r"model\.safetensors: cannot be read \(SafetensorError"),
        (
            replace_in("model.py", "return x + shortcut", "return x"),
            r"model\.py: its outputs differ",
        ),
        (replace_in("model.py", "PARAMETERS = 1", "PARAMETERS = 2"), r"model\.py: has 1\d+ param"),
        (replace_in("model.py", "nn.Linear(6, classes)", "nn.Linear(6, 4)"), r"cannot be loaded"),
        (
            replace_in("design.yaml", "shortcut: proj", "shortcut: pad"),
            r"weights of design \w+, and n",
        ),
        (truncate("model.pt2"), r"model\.pt2: cannot be loaded back and run: "),
        (truncate("model.onnx"), r"model\.onnx: cannot be loaded back and run: "),
        (other_onnx, r"model\.onnx: its outputs differ"),
    ],
)
def test_a_spoilt_artefact_is_refused_by_name(
    spoil: Callable[[Path], None],
    message: str,
    folder: Path,
    exported: tuple[Path, nn.Module],
) -> None:
    spoil(folder)
    with pytest.raises(ExportError, match=message):
        check_artefacts(folder, exported[1], **SIZES)


def test_a_refused_export_leaves_nothing_behind(tmp_path: Path) -> None:
    design = EXPORTED["pad"]
    with pytest.raises(ExportError, match=r"model\.onnx: its outputs differ .*tolerance 1e-12 x"):
        write_artefacts(trained(design), design, tmp_path / "out", **SIZES, tolerance=1e-12)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_export_leaves_the_earlier_one(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = EXPORTED["omit"]
    with pytest.raises(ExportError, match=f"the module is not of design {other.id}: "):
        write_artefacts(trained(EXPORTED["pad"]), other, folder, **SIZES, formats=("source",))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder]


def test_an_earlier_export_is_replaced_whole(folder: Path) -> None:
    (folder / "__pycache__").mkdir()  # someone imported model.py
    design = EXPORTED["pad"]
    write_artefacts(trained(design), design, folder, **SIZES, formats="source")
    assert Design.load(folder / "design.yaml") == design
    assert not (folder / "model.onnx").exists()
    assert list(folder.parent.iterdir()) == [folder]


def test_a_folder_that_holds_something_else_is_refused_and_left(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    design = EXPORTED["pad"]
    with pytest.raises(ExportError, match=r"holds 'thesis\.tex' and is no earlier export"):
        write_artefacts(trained(design), design, tmp_path, **SIZES)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_earlier_export_with_something_else_in_it_is_refused(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match=r"holds 'notes\.txt'"):
        check_request(folder, ("source",))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(ExportError, match="is a file; an export is a folder"):
        check_request(tmp_path / "out", ("source",))


def test_an_unknown_format_is_refused_with_the_nearest(tmp_path: Path) -> None:
    message = r"format 'onx' is not one of source, program, onnx \(did you mean 'onnx'\?\)"
    with pytest.raises(ExportError, match=message):
        check_request(tmp_path / "out", ("source", "onx"))


def test_a_missing_library_is_named_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ExportError, match=r"onnxscript.*pip install 'skipsearch\[export\]'"):
        check_request(tmp_path / "out", ("onnx",))
    assert check_request(tmp_path / "out", ("source", "program")) == ("source", "program")


def test_a_module_without_finite_logits_is_refused(tmp_path: Path) -> None:
    design = EXPORTED["pad"]
    model = trained(design)
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(ExportError, match="the module's own outputs are not finite"):
        write_artefacts(model, design, tmp_path / "out", **SIZES, formats=("source",))


# --- the card ------------------------------------------------------------------------------------


def write_card(out: Path, card: Card | str) -> tuple[str, dict[str, Any]]:
    design = EXPORTED["pad"]
    write_artefacts(trained(design), design, out, **SIZES, formats=("source",), card=card)
    values = json.loads((out / "card.json").read_text())
    assert isinstance(values, dict)
    return (out / "card.md").read_text(), values


def test_the_card_says_where_the_network_comes_from(tmp_path: Path) -> None:
    card = Card(
        run="orders",
        space="he2016",
        data="cifar10",
        mean=(0.49, 0.48),
        std=(0.2, 0.21),
        trials=60,
        designs=40,
        search_epochs=20,
        search_seed=3,
        search_score=0.91,
        recipe=Recipe(epochs=81, peak_lr=0.4),
        seed=11,
        trained_on="train+validation",
        train_images=50_000,
        test=Measurement(0.9312, 10_000, wilson(0.9312, 10_000), baseline=0.1),
        device="NVIDIA H100",
        versions={"torch": "2.11.0"},
    )
    page, values = write_card(tmp_path / "out", card)
    design = EXPORTED["pad"]
    for text in (
        design.id,
        "conv3-bn-relu-conv3-bn + relu",
        'The residual branch is left of "+", where the shortcut joins.',
        'Operations right of "+" act on the joined signal.',
        f"| parameters | {values['cost']['params']:,} |",
        "| run | orders |",
        "| space | he2016 |",
        "| trials | 60 |",
        "| designs among them | 40 |",
        "**Unconfirmed.** It is the best of 60 trainings by noisy draws",
        "| splits | train+validation |",
        "| epochs | 81 |",
        "| peak_lr | 0.4 |",
        "| test | 93.12 % | 10,000 | 92.61 to 93.60 % | 1 | 10.00 % |",
        "The baseline learns nothing: it is the most frequent class for every image.",
        "| device | NVIDIA H100 |",
        "| `model.safetensors` | ",
        'load_file("model.safetensors")',
        "(value / 255 - mean) / std in each channel, with mean 0.49, 0.48 and std 0.2, 0.21",
    ):
        assert text in page
    assert "plain block" not in page
    assert "torch.export.load" not in page  # there is no program
    assert "validation | " not in page  # it was trained on them
    assert Design.from_dict({k: v for k, v in values["design"].items() if k != "id"}) == design
    assert Recipe.from_dict(values["training"]["recipe"]) == card.recipe
    assert values["search"]["confirmed"] is False
    assert values["figures"]["test"]["interval_95"] == list(wilson(0.9312, 10_000))
    assert {item["file"] for item in values["artefacts"]} == {
        "design.yaml",
        "model.py",
        "model.safetensors",
    }


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (20, "500 images in 20 groups; the interval resamples whole groups."),
        (
            5,
            "500 images in 5 groups; the interval resamples whole groups, and is too narrow for so"
            " few.",
        ),
        (1, "500 images in 1 group; an interval needs several groups."),
    ],
)
def test_the_card_says_what_the_interval_makes_of_groups(
    tmp_path: Path, groups: int, said: str
) -> None:
    interval = (math.nan, math.nan) if groups == 1 else (0.8, 0.9)
    card = Card(test=Measurement(0.85, 500, interval, groups=groups))
    page, values = write_card(tmp_path / "out", card)
    assert f"Test: {said}" in page
    assert values["figures"]["test"]["groups"] == groups
    head = " ".join((tmp_path / "out" / "model.py").read_text().split())
    extent, _, clause = said.removesuffix(".").partition(";")
    span = "unknown" if groups == 1 else "80.00 to 90.00 %"
    assert f"test accuracy 85.00 % of {extent} (95 % interval {span};{clause})" in head


def test_the_card_says_what_confirmed_the_design(tmp_path: Path) -> None:
    card = Card(run="orders", confirmations=(0.90, 0.92, 0.91))
    page, values = write_card(tmp_path / "out", card)
    assert "Unconfirmed" not in page
    assert "91.00 % on average, standard deviation 1.00 %, 90.00 to 92.00 % (n = 3" in page
    assert values["search"]["confirmed"] is True


def test_the_card_names_the_classes_and_tells_how_pictures_become_input(tmp_path: Path) -> None:
    card = Card(class_names=("ant", "bee", "cow"), resized=True)
    page, values = write_card(tmp_path / "out", card)
    assert "Classes, in the order of the logits: ant, bee, cow." in page
    assert "skipsearch predict FOLDER IMAGE" in page
    assert values["class_names"] == ["ant", "bee", "cow"]
    assert "bilinear" in values["input"]["pictures"]
    _, values = write_card(tmp_path / "numbers", "")
    assert values["class_names"] == ["0", "1", "2"]
    assert "must have the size of the training images" in values["input"]["pictures"]


def test_a_card_that_does_not_fit_the_network_is_refused(tmp_path: Path) -> None:
    for card, message in (
        (Card(class_names=("ant",)), "class_names: 1 are given, and 3 are needed"),
        (Card(mean=(0.5,) * 3), "mean: 3 are given, and 2 are needed"),
    ):
        with pytest.raises(ExportError, match=message):
            write_card(tmp_path / "out", card)
    assert list(tmp_path.iterdir()) == []


def test_a_note_alone_is_a_card(tmp_path: Path) -> None:
    page, values = write_card(tmp_path / "out", "Trained by hand.")
    assert "Trained by hand." in page
    assert "How it was found" not in page
    assert values["note"] == "Trained by hand."


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"test": Measurement(93.1, 10)}, r"test\.score: 93.1 is no score of accuracy from 0 to 1"),
        ({"test": Measurement(0.9, 0)}, r"test\.images: 0 is not 1 or more"),
        (
            {"confirmations": (0.9, 90.0)},
            r"confirmations\[1\]: 90.0 is no score of accuracy from 0 to 1",
        ),
    ],
)
def test_a_card_with_impossible_figures_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        Card(**fields)
