"""One block: rules 1 to 3."""

from __future__ import annotations

from functools import lru_cache

from skipsearch.errors import DesignError, shown_value
from skipsearch.layout import is_convolution, split_convolution
from skipsearch.merges import MERGES
from skipsearch.plan import Block, Step, Steps
from skipsearch.planning.chains import plain_step, plan_run
from skipsearch.planning.shortcuts import SHORTCUTS, projection_norm
from skipsearch.planning.stage import StageFields

# Fields of a design that a block takes over unchanged if they belong to its merge.
SETTINGS = ("shortcut_scale", "branch_scale", "shortcut_dropout", "gate_bias")


@lru_cache(maxsize=4096)
def plan_block(
    stage: StageFields,
    inputs: int,
    stride: int,
    dropout: float,
    first: bool = True,
    reads_image: bool = False,
) -> Block:
    """Resolve the shapes of one block.

    With the merge ``dual``, the shortcut of a stage's first block outputs ``width + 2 growth``
    channels; the last ``2 growth`` of them begin the dense path (Chen et al. 2017,
    arXiv:1707.01629, section 4, as in the authors' code).

    Args:
        stage: Fields of the stage.
        inputs: Number of input channels.
        stride: 2 if the block halves height and width, else 1.
        dropout: Rate of every ``dropout`` in the layout.
        first: Whether it is the first block of its stage.
        reads_image: Whether it reads the image. No shortcut carries the image unchanged; otherwise
            the structure would depend on the number of image channels.

    Raises:
        DesignError: If the channels do not fit.
    """
    layout = stage.layout
    opening = plan_run(layout.opening, inputs, dropout)
    merge = MERGES[stage.merge] if layout.skip else None
    shortcut: Steps | None = None
    carried, added, growth = stage.width, stage.width, 0
    if merge and not merge.carries:
        shortcut = ()
        carried, added, growth = inputs, 0, stage.width
    elif merge:
        if merge.appends:
            growth = stage.growth
            carried = stage.width + 2 * growth if first else inputs
        # A dense path must begin with separate channels, even if the numbers fit.
        fits = inputs == carried and stride == 1 and not (growth and first) and not reads_image
        if fits and not SHORTCUTS[stage.shortcut].everywhere:
            shortcut = ()
        else:
            shortcut = _plan_shortcut(stage, inputs, carried, stride)
        if shortcut is None:
            merge, carried, growth = None, stage.width, 0
    outputs = carried + growth
    branch = _plan_branch(stage, inputs, added + growth, stride, dropout)
    after = plan_run(layout.after, outputs, dropout)
    if merge is None and not any(map(is_convolution, layout.after)):
        branch, after = branch + after, ()  # Without a join, nothing follows it.
    block = Block(
        opening,
        branch,
        shortcut,
        any(step.op == "conv" for step in shortcut or ()),
        stage.merge if merge else None,
        after,
        inputs,
        outputs,
        stride,
        growth=growth,
    )
    settings = {name: getattr(stage, name) for name in SETTINGS if merge and name in merge.fields}
    if settings.get("shortcut_scale") == 0:
        settings["shortcut_dropout"] = 0.0  # nothing is left to be dropped
    return block._replace(**settings)


def _plan_branch(stage: StageFields, inputs: int, width: int, stride: int, dropout: float) -> Steps:
    tokens = stage.layout.branch[len(stage.layout.opening) :]
    kernels = [split_convolution(token)[1] for token in tokens if is_convolution(token)]
    strided = next((i for i, kernel in enumerate(kernels) if kernel > 1), 0)
    dense_left = sum(token.startswith("conv") for token in tokens)
    steps: list[Step] = []
    channels, number = inputs, 0
    for token in tokens:
        if not is_convolution(token):
            steps += plain_step(token, channels, dropout)
            continue
        kind, kernel = split_convolution(token)
        if kind == "dw":
            outputs = groups = channels
        else:
            dense_left -= 1
            outputs = stage.inner if dense_left else width
            groups = stage.groups if kernel > 1 else 1
        if channels % groups or outputs % groups:
            raise DesignError(
                f"groups {groups} does not divide the {channels} -> {outputs} channels"
                f" of {token} in {shown_value(str(stage.layout))}"
            )
        step_stride = stride if number == strided else 1
        steps.append(Step("conv", channels, outputs, kernel, step_stride, groups))
        channels, number = outputs, number + 1
    if channels != width:
        raise DesignError(
            f"layout {shown_value(str(stage.layout))} has depthwise convolutions alone, which keep"
            f" their {channels} channels, so it cannot lead to width {width}"
        )
    return tuple(steps)


def _plan_shortcut(stage: StageFields, inputs: int, outputs: int, stride: int) -> Steps | None:
    entry = SHORTCUTS[stage.shortcut]
    if entry.steps is None:
        return None
    if inputs > outputs and not entry.narrows:
        raise DesignError(
            f"shortcut {stage.shortcut!r} adds zero channels and cannot lead from {inputs} to"
            f" {outputs}; use proj, avg-proj or omit, or widths that do not shrink"
        )
    return entry.steps(inputs, outputs, stride, projection_norm(stage.layout.branch))
