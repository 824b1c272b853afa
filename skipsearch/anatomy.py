"""Layouts, designs and spaces drawn as text: blocks as the papers draw them, with shapes."""

from __future__ import annotations

from skipsearch.axes import Axis, Choice, Free, Range
from skipsearch.cost import block_cost, cost, join_cost, steps_cost
from skipsearch.design import Design
from skipsearch.errors import SpaceError, counted
from skipsearch.merges import CONCATENATED, LINK_MERGES, MERGES
from skipsearch.plan import Block, Join, Step, Steps
from skipsearch.space import Listing, Space

WIDTH = 24  # columns of the branch


def draw_design(
    design: Design, in_channels: int = 3, image_size: int = 32, classes: int = 10
) -> str:
    """Draw a design: its blocks, its stages with shapes and cost, and its totals.

    Args:
        design: What to draw.
        in_channels: Channels of the images.
        image_size: Their height and width, in pixels.
        classes: Outputs.

    Returns:
        Lines of text.
    """
    plan = design.plan(in_channels)
    total = cost(design, in_channels, image_size, classes)
    size = image_size
    params, macs, _, size = steps_cost(plan.stem, size)
    rows = [("stem", _chain(plan.stem), _shape(plan.stem[-1].outputs, size), params, macs)]
    sizes = [size]
    drawings: list[str] = []
    drawn: set[tuple[object, ...]] = set()
    for number, (stage, fields) in enumerate(zip(plan.stages, design.stages, strict=True), 1):
        if stage.transition:
            params, macs, _, size = steps_cost(stage.transition, size)
            shape = _shape(stage.transition[-1].outputs, size)
            rows.append((f"to stage {number}", _chain(stage.transition), shape, params, macs))
        params = macs = 0
        for position, block in enumerate(stage.blocks, 1):
            kind = block_kind(block)
            if kind not in drawn:
                drawn.add(kind)
                where = f"stage {number}, block {position}"
                drawings.append(f"{where}: {fields.layout}\n\n{draw_block(block, size)}\n")
            block_params, block_macs, _, size = block_cost(block, size)
            params, macs = params + block_params, macs + block_macs
        name = f"{len(stage.blocks)} x {fields.layout}"
        rows.append((f"stage {number}", name, _shape(stage.blocks[-1].outputs, size), params, macs))
        if stage.join:
            params, macs, _, _ = join_cost(stage.join, sizes, size)
            name = _join_words(stage.join)
            rows.append((f"links to {number}", name, _shape(stage.outputs, size), params, macs))
        sizes.append(size)
    params, macs, _, size = steps_cost(plan.head, size)
    pooled_params, pooled_macs, _, _ = steps_cost(plan.pooled, 1)
    words = [_chain(plan.head), "mean", _chain(plan.pooled), f"linear {plan.features}->{classes}"]
    params += pooled_params + plan.features * classes + classes
    macs += pooled_macs + plan.features * classes
    rows.append(("head", " - ".join(filter(None, words)), str(classes), params, macs))
    table = _table(rows)
    summary = (
        f"design {design.id}: {total.params:,} parameters, {total.macs:,} multiply-adds,"
        f" {total.activation_bytes:,} activation bytes\n"
        f"for one image of {_shape(in_channels, image_size)}"
    )
    return "\n".join([*drawings, table, "", summary])


def draw_space(space: Space) -> str:
    """Describe a space: its axes, its size, and how many distinct networks it holds."""
    lines = [f"{space.name}: {space.source}" if space.source else space.name, ""]
    lines += [f"base   {name}: {_plain(value)}" for name, value in space.base.items()]
    lines += [f"recipe {name}: {_plain(value)}" for name, value in space.recipe.items()]
    for name, axis in space.axes.items():
        lines += [f"axis   {name}:", *(f"         {line}" for line in _draw_axis(axis))]
    lines += [f"must   {constraint}" for constraint in space.constraints]
    lines += ["", space_size(space)]
    return "\n".join(lines)


def _draw_axis(axis: Axis) -> list[str]:
    match axis:
        case Choice():
            return [f"- {_plain(value)}" for value in axis.values]
        case Range():
            return [", ".join(f"{key} {value}" for key, value in axis.plain().items())]
        case Free():
            words = ", ".join(word or "nothing" for word in axis.words.values)
            places = axis.layout({slot: f"[{slot}]" for slot in axis.slots})
            return [places, f"in each of the brackets: {words}"]


def space_size(space: Space) -> str:
    """Say in one line how large a space is.

    Raises:
        SpaceError: If a space small enough to be listed holds no design that is allowed.
    """
    return describe_size(space, space.listing())


def describe_size(space: Space, listing: Listing | None) -> str:
    """Say how large a space is, as ``space_size`` does, of a listing that is there already."""
    if space.size is None:
        return "endless: at least one axis is continuous"
    if listing is None:
        return f"{space.size:,} points; too many to list the distinct networks among them"
    if not listing.networks:
        bounds = ", ".join(map(str, space.constraints))
        raise SpaceError(f"{space.name}: the space is empty: no design meets {bounds}")
    return (
        f"{counted(space.size, 'point')}: {counted(listing.networks, 'distinct network')} within"
        f" the constraints, {counted(listing.trainings, 'distinct training')}"
    )


def draw_block(block: Block, size: int) -> str:
    """Draw one block from top to bottom, the shortcut to the right of the branch.

    Args:
        block: From the plan of a design.
        size: Height and width of its input, in pixels.
    """
    shapes = _shapes((*block.opening, *block.branch), size)
    split = len(block.opening)
    steps = (*block.opening, *block.branch, *block.after)
    width = max(WIDTH, *(len(step_word(step)) + 2 for step in steps))
    opening = list(zip(block.opening, shapes[:split], strict=True))
    branch = list(zip(block.branch, shapes[split:], strict=True))
    out_size = -(-size // block.stride)
    lines = [_line("x", _shape(block.inputs, size), "", width)]
    if block.merge is None:
        lines += [_line(step_word(step), shape, "", width) for step, shape in opening + branch]
    else:
        before, beside = (opening, branch) if block.shares_opening else ([], opening + branch)
        lines += [_line(step_word(step), shape, "", width) for step, shape in before]
        lines.append("  " + "├" + "─" * (width + 13) + "┐")
        carried = [step_word(step) for step in block.shortcut or ()]
        if block.shortcut_dropout:
            carried.append(f"dropout {block.shortcut_dropout:g}")
        carried = carried or ["identity"]
        start = max(0, (len(beside) - len(carried)) // 2)
        rows = max(len(beside), len(carried))
        for i in range(rows):
            word, shape = (step_word(beside[i][0]), beside[i][1]) if i < len(beside) else ("│", "")
            side = carried[i - start] if start <= i < start + len(carried) else "│"
            lines.append(_line(word, shape, side, width))
        merge = MERGES[block.merge]
        mark = _mark(CONCATENATED if merge.appends else merge.sign)
        lines.append(f"  {mark:─<{width + 14}}┘  {_formula(block)}")
        if merge.appends:
            lines.append(_line("", _shape(block.outputs, out_size), "", width))
    after = zip(block.after, _shapes(block.after, out_size), strict=True)
    lines += [_line(step_word(step), shape, "", width) for step, shape in after]
    lines.append("  ↓")
    return "\n".join(line.rstrip() for line in lines)


def _mark(sign: str) -> str:
    return sign if sign == CONCATENATED else f"({sign})"


def _formula(block: Block) -> str:
    """Say with which factors a block joins branch and shortcut; nothing where there are none."""
    assert block.merge is not None
    branch, shortcut, note = MERGES[block.merge].weights(block)
    if " " in shortcut:
        shortcut = f"({shortcut})"
    words = f"{branch} branch + {shortcut} shortcut".strip().replace("  ", " ")
    return ", ".join(filter(None, [words if branch or shortcut else "", note]))


def _join_words(join: Join) -> str:
    """Say where long skips come from, what they carry, and how they join."""
    words = []
    for link in join.links:
        source = f"stage {link.source}" if link.source else "stem"
        words.append(f"{source} ({_chain(link.steps) or 'identity'})")
    how = _mark(LINK_MERGES[join.merge].sign)
    return " - ".join(filter(None, [f"{how} {', '.join(words)}", _chain(join.after)]))


def _line(word: str, shape: str, side: str, width: int) -> str:
    return f"  {word:<{width}}{shape:<14}{side}"


def step_word(step: Step) -> str:
    """Write one operation with its channels, stride and groups."""
    if step.op == "conv":
        depthwise = step.groups == step.inputs > 1
        name = f"{'dw' if depthwise else 'conv'}{step.kernel} {step.inputs}->{step.outputs}"
        name += f" /{step.stride}" if step.stride > 1 else ""
        return name + (f" groups {step.groups}" if step.groups > 1 and not depthwise else "")
    if step.op == "pad":
        return f"pad {step.inputs}->{step.outputs} /{step.stride}"
    if step.op in ("avgpool", "maxpool"):
        return f"{step.op} {step.kernel}x{step.kernel} /{step.stride}"
    return step.op


def _chain(steps: Steps) -> str:
    return " - ".join(map(step_word, steps))


def _shapes(steps: Steps, size: int) -> list[str]:
    shapes = []
    for step in steps:
        size = -(-size // step.stride)
        shapes.append(_shape(step.outputs, size))
    return shapes


def _shape(channels: int, size: int) -> str:
    return f"{channels}x{size}x{size}"


def block_kind(block: Block) -> tuple[object, ...]:
    """Return what makes two drawings differ but for their numbers of channels."""
    steps = (*block.opening, *block.branch, *block.after)
    ops = tuple((step_word(step).partition(" ")[0], step.groups > 1) for step in steps)
    shortcut = None if block.shortcut is None else tuple(step.op for step in block.shortcut)
    return ops, shortcut, block.merge, block.shares_opening


def _table(rows: list[tuple[str, str, str, int, int]]) -> str:
    cells = [("", "operations", "output", "parameters", "multiply-adds")]
    cells += [(a, b, c, f"{d:,}", f"{e:,}") for a, b, c, d, e in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(5)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:<{widths[2]}}"
        f"  {row[3]:>{widths[3]}}  {row[4]:>{widths[4]}}"
        for row in cells
    )


def _plain(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
