"""Every dispatch over words refuses one that it does not know, however it got past the checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from skipsearch.anatomy import draw_block, draw_design
from skipsearch.artefacts.source import source
from skipsearch.artefacts.source_text import module_call
from skipsearch.cost import cost, measure_block, measure_join, measure_steps
from skipsearch.deepening.graft import graft_block, graft_run
from skipsearch.deepening.identity import behind_block, start_as_identity
from skipsearch.deepening.norms import NewNorms
from skipsearch.design import Design
from skipsearch.diagram import draw_diagram
from skipsearch.early_stopping import EarlyStopping
from skipsearch.errors import RunError, UnknownWordError
from skipsearch.fields import check_field, has_effect
from skipsearch.layout import PLAIN_TOKENS, Layout
from skipsearch.merges import LINK_MERGES, MERGES
from skipsearch.models import build
from skipsearch.models.links import make_join
from skipsearch.models.merges import make_block
from skipsearch.models.ops import sequence
from skipsearch.operations import ACTIVATIONS, OPERATIONS, through
from skipsearch.plan import Block, Join, Size, Step
from skipsearch.planning import LINK_SHORTCUTS, SHORTCUTS, StageFields
from skipsearch.planning.block import plan_block
from skipsearch.ranges import ANY
from skipsearch.recipe import PRECISIONS, SCHEDULES, Recipe
from skipsearch.searching.samplers import make_sampler
from skipsearch.searching.stopping import EarlyStopper
from skipsearch.space import Space
from skipsearch.training.environment import autocast_dtype
from skipsearch.training.schedule import learning_rate

WORD = "bnn"


def forced(**fields: Any) -> Design:
    """A valid design, some of whose fields were changed behind its back."""
    design = Design(layout="conv3-bn + relu", widths=(8, 16), depths=(2, 1), links=("0>1", "0>2"))
    assert design.canonical()
    other = design.replace(drop_path=0.0)
    for name, value in fields.items():
        object.__setattr__(other, name, value)
    return other


FIELDS = {
    "merge": WORD,
    "shortcut": WORD,
    "link_merge": WORD,
    "link_shortcut": WORD,
    "stem": f"conv3-{WORD}",
    "head": f"{WORD}-mean",
}
READERS: dict[str, Callable[[Design], object]] = {
    "plan": Design.plan,
    "id": lambda design: design.id,
    "cost": cost,
    "draw_design": draw_design,
    "draw_diagram": draw_diagram,
    "build": build,
    "source": source,
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("reader", READERS)
def test_a_design_with_an_unknown_word_is_refused_by_whatever_reads_it(
    field: str, reader: str
) -> None:
    with pytest.raises(UnknownWordError, match=f"unknown .*{WORD}"):
        READERS[reader](forced(**{field: FIELDS[field]}))


CONV = Step("conv", 4, 4)
EIGHT = Size(8, 8)
ODD = Step(WORD, 4, 4)
NORMS = NewNorms()
KEPT = torch.arange(4)
GOOD = Block((), (CONV,), (), False, "add", (), 4, 4, 1)
BLOCK = GOOD._replace(merge=WORD)
JOIN = Join((), WORD, (), 4, 4)
MODULE = make_block(GOOD, 0.0)

BELOW_THE_PLAN: dict[str, Callable[[], object]] = {
    "make_block": lambda: make_block(BLOCK, 0.0),
    "measure_block": lambda: measure_block(BLOCK, EIGHT),
    "draw_block": lambda: draw_block(BLOCK, EIGHT),
    "behind_block": lambda: behind_block(BLOCK, ANY),
    "start_as_identity": lambda: start_as_identity(BLOCK, MODULE, ANY, NORMS),
    "graft_block": lambda: graft_block(MODULE, MODULE, BLOCK, BLOCK, KEPT, NORMS),
    "make_join": lambda: make_join(JOIN),
    "measure_join": lambda: measure_join(JOIN, [EIGHT], EIGHT),
    "sequence": lambda: sequence((ODD,)),
    "measure_steps": lambda: measure_steps((ODD,), EIGHT),
    "OPERATIONS": lambda: OPERATIONS[WORD],
    "through": lambda: through((ODD,), ANY),
    "graft_run": lambda: graft_run(
        torch.nn.Sequential(torch.nn.ReLU()),
        torch.nn.Sequential(torch.nn.ReLU()),
        (ODD,),
        (ODD,),
        KEPT,
        NORMS,
    ),
    "module_call": lambda: module_call(WORD, "4"),
    "plan_block, merge": lambda: plan_block(
        StageFields(Layout.parse("conv3 +"), "proj", WORD, 1, 4, 1.0, 1), 4, 1, 0.0
    ),
    "plan_block, shortcut": lambda: plan_block(
        StageFields(Layout.parse("conv3 +"), WORD, "add", 1, 4, 1.0, 1), 2, 1, 0.0
    ),
    "has_effect, merge": lambda: has_effect("shortcut", [Layout.parse("conv3 +")], [WORD]),
    "has_effect, field": lambda: has_effect(WORD, [Layout.parse("conv3 +")], ["add"]),
    "check_field": lambda: check_field(WORD, 1),
}


@pytest.mark.parametrize("name", BELOW_THE_PLAN)
def test_an_unknown_word_in_a_plan_is_refused(name: str) -> None:
    with torch.no_grad(), pytest.raises(UnknownWordError, match=f"unknown .*{WORD}"):
        BELOW_THE_PLAN[name]()


def test_an_activation_is_called_as_its_function_in_torch() -> None:
    assert all(hasattr(torch.nn.functional, word) for word in ACTIVATIONS)


def test_an_operation_that_cannot_be_the_identity_says_why() -> None:
    silent = {word for word, each in OPERATIONS.items() if each.in_layouts and not each.obstacle}
    assert silent == {"bn", "bn0", "scale", "dropout"}


def forced_recipe(**fields: Any) -> Recipe:
    recipe = Recipe()
    for name, value in fields.items():
        object.__setattr__(recipe, name, value)
    return recipe


@pytest.mark.parametrize(
    "run",
    [
        lambda: learning_rate(forced_recipe(schedule=WORD), 10.0),
        lambda: autocast_dtype(forced_recipe(precision=WORD), torch.device("cpu")),
    ],
    ids=["schedule", "precision"],
)
def test_an_unknown_word_of_a_recipe_is_refused(run: Callable[[], object]) -> None:
    with pytest.raises(UnknownWordError, match=WORD):
        run()


def test_an_unknown_word_of_a_search_is_refused() -> None:
    space = Space.from_dict({"axes": {"shortcut": ["pad"]}, "base": {"layout": "conv3 +"}})
    with pytest.raises(RunError, match=WORD):
        make_sampler(WORD, space, 0)
    stopping = EarlyStopping()
    object.__setattr__(stopping, "rule", WORD)
    with pytest.raises(KeyError):
        EarlyStopper(stopping, 9).stops(0, [0.5])


def test_every_known_word_has_an_entry_in_every_dispatch() -> None:
    # Drawn, costed, built and written out: a word that is added to a table and to no dispatch
    # fails here by name.
    base: dict[str, Any] = {"layout": "conv3-bn + relu", "widths": (4, 8), "depths": (2, 2)}
    designs = [Design(**base, merge=word) for word in MERGES]
    designs += [Design(**base, shortcut=word) for word in SHORTCUTS]
    designs += [Design(**base, links=("0>2",), link_merge=word) for word in LINK_MERGES]
    designs += [Design(**base, links=("0>2",), link_shortcut=word) for word in LINK_SHORTCUTS]
    designs += [
        Design(**(base | {"layout": f"conv3-{word} + {word}", "dropout": 0.5}))
        for word in PLAIN_TOKENS
    ]
    for design in designs:
        for read in (cost, draw_design, draw_diagram, build, source):
            read(design)
    for schedule in SCHEDULES:
        assert learning_rate(Recipe(schedule=schedule), 10.0) > 0
    for precision in PRECISIONS:
        autocast_dtype(Recipe(precision=precision), torch.device("cpu"))
