"""Source of a single Python file that builds the network of a design and imports only torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from textwrap import fill

from skipsearch.artefacts.card import Card
from skipsearch.artefacts.program import output_of
from skipsearch.artefacts.sentences import KINDS, facts, normalisation
from skipsearch.artefacts.source_block import BlockWriter
from skipsearch.artefacts.source_kinds import PLACES, Run, block_kinds
from skipsearch.artefacts.source_text import (
    HELPERS,
    LINE_LENGTH,
    chained,
    convolution,
    fitted,
    indented,
    module_call,
    return_last,
    transposed,
)
from skipsearch.cost import cost
from skipsearch.design import Design
from skipsearch.merges import LINK_MERGES
from skipsearch.operations import OPERATIONS, TRANSPOSED
from skipsearch.plan import (
    BEFORE_POOL,
    IMAGE,
    OUTPUT,
    End,
    Head,
    ImageSize,
    Join,
    MapHead,
    Network,
    Size,
    Steps,
    identifier,
)
from skipsearch.planning import needs_transition
from skipsearch.task import Task

DEFAULTS = {field.name: field.default for field in dataclasses.fields(Design)}


def source(
    design: Design,
    in_channels: int = 3,
    classes: int = 10,
    *,
    image_size: ImageSize = 32,
    card: Card | None = None,
) -> str:
    """Return the network of a design as one Python file.

    Its ``Network`` has the same state as the module from ``skipsearch.build``, entry by entry in
    the same order, under other names; from the same random state it has the same initial weights.
    ``python model.py`` prints shapes and checks the numbers of parameters and multiply-adds that
    are given in the file.

    Args:
        design: Design of the network.
        in_channels: Number of channels of the images.
        classes: Number of classes.
        image_size: Height and width, in pixels, of the random image of the self-check.
        card: Information about the trained network, for the docstring.

    Returns:
        Python source in the format of ``ruff format --line-length 100``.

    Raises:
        DesignError: If a size is not a positive integer.
    """
    card = card or Card()
    known = cost(design, in_channels, image_size, classes)
    plan = design.plan(in_channels)
    kinds = block_kinds(design, plan)
    blocks = [BlockWriter(kind) for kind in kinds]
    parts = [
        *(block.text for block in blocks),
        _network_class(design, plan, blocks, in_channels, classes, card.task),
        _self_check(in_channels, image_size),
    ]
    used = "".join(parts)
    for name, text in reversed(HELPERS.items()):  # a helper uses only those before it
        used = text + used if f"{name}(" in used else used
    parts = [text.strip() for text in HELPERS.values() if text in used] + parts
    body = "\n\n\n".join(parts)
    standard = ["from functools import partial"]
    if "gcd(" in body:
        standard.append("from math import gcd")
    imports = ["import torch", "from torch import Tensor, nn"]
    if "F." in body:
        imports.append("from torch.nn import functional as F")
    imports.append("from torch.utils.flop_counter import FlopCounterMode")
    size = f"of one {Size.of(image_size)} image"
    lines = [
        *(_docstring(design, plan, card, in_channels, classes), ""),
        *(*standard, "", *imports, ""),
        f"PARAMETERS = {known.params:_}",
        f"MULTIPLY_ADDS = {known.macs:_}  # {size}, in convolutions and linear layers",
        *("", "", body, ""),
    ]
    return "\n".join(lines)


def _network_class(
    design: Design,
    plan: Network,
    blocks: Sequence[BlockWriter],
    in_channels: int,
    classes: int,
    task: Task,
) -> str:
    writers = [(writer, run) for writer in blocks for run in writer.kind.runs]
    init, forward = _stem(plan)
    if any("drop_path" in block.parameters for block in blocks):
        number = sum(len(stage.blocks) for stage in plan.stages)
        rates = f"{design.drop_path!r} * number / {number} for number in range(1, {number + 1})"
        init += [
            "# Stochastic depth: the rate rises linearly from block to block.",
            f"rates = [{rates}]",
        ]
    kept = plan.sources | {stage.cut for stage in plan.named.values() if stage.enlarges}
    down = sum(not stage.enlarges for stage in plan.stages)
    reads: dict[End, End] = {node.end: node.reads for node in plan.nodes}
    if reads:  # Then x is not the output of the last stage before those that enlarge.
        reads[down + 1] = down
        kept |= {down}
    of_nodes: list[str] = []
    joins: list[str] = []
    depths = [len(stage.blocks) for stage in plan.stages]
    like = {node.end: node.like for node in plan.nodes}
    for end, stage in plan.named.items():
        is_node = end in like
        name = f"{'_' if is_node else ''}{identifier(end)}"
        made = of_nodes if is_node else init
        modules, joined = _join(stage.join, name) if stage.join else ([], [])
        joins += modules
        if stage.transition:
            made += _sequence(f"transition{name}", stage.transition)
            read = f"x{identifier(reads[end])}" if end in reads else "x"
            forward.append(f"x = self.transition{name}({read})")
        if stage.enlarges:
            forward += [f"x = cut(x, x{stage.cut})", *joined]
        first = sum(depths[: (like[end] if isinstance(end, str) else end) - 1])
        blocks_there = []
        for writer, run in sorted(writers, key=lambda pair: PLACES.index(pair[1].place)):
            if run.stage == end:
                blocks_there += _run_modules(writer, run, first)
                first += len(run.blocks)
        if blocks_there:
            whole = f"{'node' if is_node else 'stage'}{name}"
            made += chained(f"self.{whole}", blocks_there, 8, always=True)
            forward.append(f"x = self.{whole}(x)")
        if not stage.enlarges:
            forward += joined
        if end in kept:
            forward.append(f"x{identifier(end)} = x")
    init += [*of_nodes, *joins]
    if plan.head.steps:
        init += _sequence("head", plan.head.steps)
        forward.append("x = self.head(x)")
    made, last = _output(plan.head, classes)
    init += made
    forward += last
    default = any("DefaultConv2d(" in line or "AttentionGate(" in line for line in init)
    second = []
    if any("ConvTranspose2d(" in line for line in init):
        second = [
            "            elif isinstance(module, nn.ConvTranspose2d):",
            "                # By fan-in: each output adds up a quarter of the products.",
            "                nn.init.normal_(module.weight,"
            " std=(8 / module.weight[:, 0].numel()) ** 0.5)",
        ]
    condition = " and not isinstance(module, DefaultConv2d)" if default else ""
    return "\n".join(
        [
            "class Network(nn.Module):",
            f'    """Images (N, {in_channels}, H, W) -> {_outputs(plan, classes, task)}."""',
            "",
            f"    def __init__(self, in_channels: int = {in_channels}, classes: int = {classes})"
            " -> None:",
            "        super().__init__()",
            indented(init, 8),
            "        for module in self.modules():",
            f"            if isinstance(module, nn.Conv2d){condition}:",
            "                # He et al. 2015, arXiv:1502.01852",
            '                nn.init.kaiming_normal_(module.weight, mode="fan_out",'
            ' nonlinearity="relu")',
            *second,
            "",
            "    def forward(self, x: Tensor) -> Tensor:",
            indented(forward, 8),
        ]
    )


def _stem(plan: Network) -> tuple[list[str], list[str]]:
    """Return the modules of the stem and its lines of ``forward``, with the ends that are kept."""
    kept = plan.sources | {stage.cut for stage in plan.named.values()}
    if isinstance(plan.head, MapHead):
        factors = [plan.head.enlarge, *(link.enlarge for link in plan.head.links)]
        kept |= {IMAGE} if max(factors) > 1 else set()  # the output has its size
    init, forward = [], ["xx = x"] if IMAGE in kept else []
    if BEFORE_POOL in kept:
        init += _sequence("stem", plan.stem[:-1], "in_channels")
        init += _sequence("pool", plan.stem[-1:])
        forward += ["x = self.stem(x)", "xs = x", "x = self.pool(x)"]
    elif plan.stem:
        init += _sequence("stem", plan.stem, "in_channels")
        forward.append("x = self.stem(x)")
    return init, forward + (["x0 = x"] if 0 in kept else [])


def _outputs(plan: Network, classes: int, task: Task) -> str:
    """Describe the output of the network."""
    dense = isinstance(plan.head, MapHead)
    return f"values (N, {classes}, H, W)" if dense else f"{output_of(task)} (N, {classes})"


def _output(head: Head | MapHead, classes: int) -> tuple[list[str], list[str]]:
    """Return the modules after the head's steps, and their lines of ``forward``."""
    if isinstance(head, Head):
        init = [f"self.classifier = nn.Linear({head.features}, classes)"]
        if not head.pooled:
            mean = "x = x.mean((2, 3))  # global average pooling"
            return init, [mean, "return self.classifier(x)"]
        mean = "x = x.mean((2, 3), keepdim=True)  # global average pooling"
        last = [mean, "x = self.pooled(x)", "return self.classifier(x.flatten(1))"]
        return [*_sequence("pooled", head.pooled), *init], last
    init = [f"self.map = {_map(head.features, head.kernel)}"]
    forward = ["x = self.map(x)"]
    if head.enlarge > 1:
        init.append(f"self.enlarge = {_enlarging(head.enlarge)}")
        forward += ["x = cut(self.enlarge(x), xx)"]
    for link in head.links:
        start = identifier(link.source)
        term, name = f"x{start}", f"link{start}to{OUTPUT}"
        if not link.is_identity(classes):
            modules = [_map(link.inputs, 1)]
            term = f"self.{name}({term})"
            if link.enlarge > 1:
                modules.append(_enlarging(link.enlarge))
                term = f"cut({term}, xx)"
            init += chained(f"self.{name}", modules, 8)
        forward.append(f"x = x + {term}")
    return init, return_last(forward)


def _map(inputs: int, kernel: int) -> str:
    padding = f", padding={kernel // 2}" if kernel > 1 else ""
    return f"DefaultConv2d({inputs}, classes, {kernel}{padding})"


def _enlarging(factor: int) -> str:
    return module_call("bilinear", "", enlarge=factor)


def _join(join: Join, end: str) -> tuple[list[str], list[str]]:
    """Return the modules and the lines of ``forward`` that join long skips at a stage or node."""
    made, terms = [], []
    for link in join.links:
        start = identifier(link.source)
        if link.steps:
            name = f"link{start}to{end}"
            made += _sequence(name, link.steps)
            term = f"self.{name}(x{start})"
            terms.append(f"cut({term}, x)" if link.steps[-1].enlarge > 1 else term)
        else:
            terms.append(f"x{start}")
    code = LINK_MERGES[join.merge].code(join, terms, end)
    lines = [part for line in code.lines for part in fitted(line, 8)]
    if join.after:
        made += _sequence(f"after{end}", join.after)
        lines.append(f"x = self.after{end}(x)")
    return [*made, *code.made], lines


def _run_modules(writer: BlockWriter, run: Run, first: int) -> list[str]:
    """Return code of a run's blocks, with loops; ``first`` is the index of its first rate."""
    fields, block, depth = run.fields, run.blocks[0], len(run.blocks)
    drops = "drop_path" in writer.parameters
    if block.growth and depth > 1:
        inputs = f"{block.inputs} + {block.growth} * i"
        rate = f"rates[{first} + i]" if first else "rates[i]"
        return [_loop(writer.call(block, fields, inputs, rate), "i", f"range({depth})")]
    modules = []
    if depth == 1 or block.inputs != block.outputs or block.stride != 1:
        modules.append(writer.call(block, fields, str(block.inputs), f"rates[{first}]"))
        first, depth = first + 1, depth - 1
    inputs, repeated = str(block.outputs), run.blocks[-1]
    if depth == 1:
        modules.append(writer.call(repeated, fields, inputs, f"rates[{first}]"))
    elif depth:
        call = writer.call(repeated, fields, inputs, "rate")
        rates = f"rates[{first or ''}:{first + depth}]"
        loop = ("rate", rates) if drops else ("_", f"range({depth})")
        modules.append(_loop(call, *loop))
    return modules


def _loop(call: str, name: str, values: str) -> str:
    one = f"*[{call} for {name} in {values}]"
    if len(one) <= LINE_LENGTH - 13:  # 12 columns of indentation and a comma
        return one
    return f"*[\n    {call}\n    for {name} in {values}\n]"


def _sequence(name: str, steps: Steps, inputs: str = "") -> list[str]:
    """Return code of a chain of known shapes; ``inputs`` is an expression of its input channels."""
    modules = []
    for step in steps:
        channels = inputs or str(step.inputs)
        if step.op == "pad":
            modules.append(f"PadShortcut({step.outputs - step.inputs}, {step.stride})")
        elif step.op == "conv":
            numbers = (str(step.outputs), step.kernel, str(step.stride), str(step.groups))
            modules.append(convolution(channels, *numbers))
        elif step.op in TRANSPOSED:
            modules.append(transposed(channels, step))
        else:
            pool, grow = str(step.kernel), step.enlarge
            call = module_call(step.op, channels, rate=step.rate, size=pool, enlarge=grow)
            modules.append(call)
        inputs = ""
    lines = chained(f"self.{name}", modules, 8)
    for number, step in enumerate(steps):
        if OPERATIONS[step.op].ordinary:
            place = f"[{number}]" if len(steps) > 1 else ""
            lines.append(f"nn.init.zeros_(self.{name}{place}.weight)")
    return lines


def _self_check(in_channels: int, image_size: ImageSize) -> str:
    size = Size.of(image_size)
    return f'''
def count(module: nn.Module) -> int:
    """Trainable parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def report(name: str, part: nn.Module, _: object, x: Tensor) -> None:
    """Print the shape that leaves a part, and the parameters of the part."""
    print(f"{{name:<12}} -> {{tuple(x.shape)!s:<20}} {{count(part):>12,}} parameters")


if __name__ == "__main__":
    network = Network().eval()
    for name, part in [*network.named_children(), ("network", network)]:
        part.register_forward_hook(partial(report, name))
    image = torch.randn(1, {in_channels}, {size.height}, {size.width})
    print(f"{{'image':<12}} -> {{tuple(image.shape)}}")
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        network(image)
    multiply_adds = flops.get_total_flops() // 2
    print(f"{{count(network):,}} parameters, {{multiply_adds:,}} multiply-adds")
    if (count(network), multiply_adds) != (PARAMETERS, MULTIPLY_ADDS):
        raise SystemExit(f"but this file says {{PARAMETERS:,}} and {{MULTIPLY_ADDS:,}}")
'''.strip()


def _docstring(design: Design, plan: Network, card: Card, in_channels: int, classes: int) -> str:
    described = {**_fields_with_effect(design, plan), **facts(card)}
    if card.name:
        described = {"design": design.id, **described}
    title = card.name or f"Design {design.id}"
    width = max(map(len, described)) + 2
    lines = []
    for name, text in described.items():
        start, rest = f"    {name:<{width}}", " " * (width + 4)
        lines.append(_filled(text, initial_indent=start, subsequent_indent=rest))
    sentences = [
        f"Images (N, {in_channels}, H, W) -> {_outputs(plan, classes, card.task)},"
        " for any H and W.",
        normalisation(card.mean, card.std, card.pixels),
        f"The {card.task.outputs} have their names in card.json." if card.class_names else "",
        "`python model.py` prints the shape that leaves each part and checks the number of"
        " parameters and multiply-adds. To load the trained weights, without pickle:",
    ]
    dense = isinstance(plan.head, MapHead)
    kind = "a per-pixel network" if dense else KINDS.get(card.task.name, "an image classifier")
    text = "\n\n".join(
        [
            f"{title}: {kind} in one file that needs torch alone, by skipsearch.",
            "\n".join(lines),
            _filled(" ".join(filter(None, sentences))),
            "    from safetensors.torch import load_file\n",
        ]
    )
    # Names of runs and data sets are arbitrary.
    text = text.replace("\\", "\\\\").replace('"""', r"\"\"\"")
    return f'''"""{text}
    network = Network()
    network.load_state_dict(load_file("model.safetensors"))
    network.eval()
"""'''


def _filled(text: str, initial_indent: str = "", subsequent_indent: str = "") -> str:
    """Break a text into lines only at blanks, since layouts have many hyphens."""
    return fill(
        text,
        LINE_LENGTH,
        initial_indent=initial_indent,
        subsequent_indent=subsequent_indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _fields_with_effect(design: Design, plan: Network) -> dict[str, str]:
    """Return the fields of a design that its network depends on, as text."""
    blocks = [block for stage in plan.stages for block in stage.blocks]
    values, settled = design.to_dict(), design.canonical()
    shown = {
        name
        for name in ("bottleneck_ratio", "groups", "compression", "drop_path", "dropout")
        if getattr(settled, name) != DEFAULTS[name]
    }
    shown |= {"layout", "depths", "widths", "stem"}
    shown |= {"stem_width"} if plan.stem else set()
    often = ("head", "head_width", "ups", "down", "links")
    shown |= {name for name in often if getattr(design, name) != DEFAULTS[name]}
    shown |= {n for n in ("up", "link_merge", "link_shortcut", "growth") if design.has_effect(n)}
    if any(block.merge for block in blocks):
        shown.add("merge")
    # A plain or dense block has no choice of what its shortcut carries.
    if any(
        fields.layout.skip and not needs_transition(fields) and block.shortcut != ()
        for fields, stage in zip(design.stages, plan.stages, strict=True)
        for block in stage.blocks
    ):
        shown.add("shortcut")
    return {
        name: ", ".join(map(_plain, value if isinstance(value, list) else [value]))
        for name, value in values.items()
        if name in shown
    }


def _plain(value: object) -> str:
    return str(value).removesuffix(".0")
