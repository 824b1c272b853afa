"""Source of the class of one kind of blocks.

A number is replaced by a name (``out_channels``, ``inner``) only if the name has this value in
every block of the class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from textwrap import fill

from skipsearch.artefacts.source_kinds import Kind, is_dense, is_dual
from skipsearch.artefacts.source_text import (
    LINE_LENGTH,
    chained,
    convolution,
    deeper,
    fitted,
    indented,
    module_call,
    return_last,
    stem_of,
)
from skipsearch.layout import Layout
from skipsearch.merges import MERGES
from skipsearch.operations import ACTIVATIONS, NORMS, OPERATIONS
from skipsearch.plan import Block, Step, Steps
from skipsearch.planning import StageFields

NUMBERED = ("conv", *NORMS)  # conv1, bn1, even if there is only one


class BlockWriter:
    """Source of the class of one kind of block, with its parameters.

    Attributes:
        kind: Kind of block.
        parameters: Parameters of the class's ``__init__``, in order.
        text: Source of the class.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._blocks = [_unfolded(block, kind.layout) for run in kind.runs for block in run.blocks]
        fields = [run.fields for run in kind.runs for _ in run.blocks]
        # In a dense block the width is the number of channels that it appends to its input; in a
        # dual one it is the number of added channels, and "both" is the output of the branch.
        self._width = "out_channels"
        if is_dense(kind.merge):
            self._width = "growth"
        elif is_dual(kind.merge):
            self._width = "width"
        self._carried = "out_channels"  # output of the shortcut
        if is_dual(kind.merge):
            self._carried = "carried" if kind.runs[0].begins else "in_channels"
        self._values = {
            "in_channels": [block.inputs for block in self._blocks],
            "out_channels": [block.outputs for block in self._blocks],
            self._width: [stage.width for stage in fields],
            "both": [block.branch[-1].outputs for block in self._blocks],
            "inner": [stage.inner for stage in fields],
            "groups": [stage.groups for stage in fields],
            "stride": [block.stride for block in self._blocks],
        }
        self._tokens = Counter(stem_of(t) for t in (*kind.layout.branch, *kind.layout.after))
        self._counts: Counter[str] = Counter()
        self._channels = "in_channels"
        self._used = {"in_channels"}
        self._init: list[str] = []
        self.parameters: list[str] = []
        self.text = self._write()

    def call(self, block: Block, fields: StageFields, inputs: str, drop_path: str) -> str:
        """Return the expression of one of its blocks, with ``inputs`` as the first argument."""
        arguments = [inputs]
        for name in self.parameters[1:]:
            match name:
                case self._width:
                    arguments.append(str(fields.width))
                case "growth":
                    arguments.append(str(fields.growth))
                case "inner" | "groups":
                    arguments.append(f"{name}={getattr(fields, name)}")
                case "stride":
                    arguments += [f"stride={block.stride}"] if block.stride != 1 else []
                case "drop_path":
                    arguments.append(f"drop_path={drop_path}")
        return f"{self.kind.name}({', '.join(arguments)})"

    def _write(self) -> str:
        layout, blocks = self.kind.layout, self._blocks
        # __init__ creates the modules in the order of the library's state: opening, branch,
        # shortcut, after. forward starts with the shortcut if it reads x itself.
        opening = self._run(layout.opening, [block.opening for block in blocks])
        branch = self._run(layout.branch[len(layout.opening) :], [block.branch for block in blocks])
        before, opened, merge = self._join()
        appends = any(block.merge and MERGES[block.merge].appends for block in blocks)
        if appends:
            self._channels = "out_channels"
        made = len(self._init)
        after = self._run(layout.after, [block.after for block in blocks], widens=False)
        if appends and any("out_channels" in line for line in self._init[made:]):
            joined = "in_channels" if is_dense(self.kind.merge) else self._carried
            self._init.insert(made, f"out_channels = {joined} + growth")
            self._used |= {"growth", joined}
        if "carried" in self._used:
            self._init.insert(0, "carried = width + 2 * growth")
            self._used |= {"width", "growth"}
        if "both" in self._used:
            self._init.insert(0, "both = width + growth")
            self._used |= {"width", "growth"}
        if "inner" in self._used and (expression := self._inner_expression()):
            self._init.insert(0, f"inner = {expression}")
            self._used = self._used - {"inner"} | {self._width}
        known = {
            "in_channels": "in_channels: int",
            self._width: f"{self._width}: int",
            "growth": "growth: int",
            "inner": "inner: int",
            "groups": "groups: int",
            "stride": "stride: int = 1",
            "drop_path": "drop_path: float = 0.0",
        }
        self.parameters = [name for name in known if name in self._used]
        arguments = ", ".join(["self", *(known[name] for name in self.parameters)])
        signature = fitted(f"def __init__({arguments}) -> None:", 4)
        forward = return_last([*before, *opening, *opened, *branch, *merge, *after])
        return "\n".join(
            [
                f"class {self.kind.name}(nn.Module):",
                indented(self._describe(), 4),
                "",
                indented(signature, 4),
                indented(["super().__init__()", *self._init], 8),
                "",
                "    def forward(self, x: Tensor) -> Tensor:",
                indented(forward, 8),
            ]
        )

    def _describe(self) -> list[str]:
        ends = [run.stage for run in self.kind.runs]
        whose = "One block"
        if self.kind.name != "Block":
            stages = _listed("stage", [end for end in ends if isinstance(end, int)])
            nodes = _listed("node", [end for end in ends if isinstance(end, str)])
            place = self.kind.runs[0].place.capitalize()
            whose = f"{place} block of {' and of '.join(filter(None, [stages, nodes]))}"
        joined = [block.merge is not None for block in self._blocks]
        how = "no shortcut joins"
        if any(joined):
            how = f'the shortcut is {MERGES[self.kind.merge].done} at "+"'
        if any(joined) and not all(joined):
            how += " where the shape stays"
        one = f'"""{whose}: {self.kind.layout}; {how}."""'
        if len(one) <= LINE_LENGTH - 4:
            return [one]
        layout = fill(str(self.kind.layout), LINE_LENGTH - 4).split("\n")
        first = fill(f'"""{whose}; {how}.', LINE_LENGTH - 4, break_on_hyphens=False)
        return [*first.split("\n"), "", *layout, '"""']

    def _run(self, tokens: Sequence[str], runs: Sequence[Steps], widens: bool = True) -> list[str]:
        """Add the modules of a chain, given as the steps of each block; return its lines."""
        columns = zip(tokens, *runs, strict=True)
        return [f"x = {self._operation(token, steps, widens)}" for token, *steps in columns]

    def _operation(self, token: str, steps: list[Step], widens: bool) -> str:
        if token in ACTIVATIONS:
            return f"F.{token}(x)"
        name = stem_of(token)
        self._counts[name] += 1
        attribute = name
        if name in NUMBERED or (self._tokens[name] > 1 and name != "dropout"):
            attribute += str(self._counts[name])
        if name == "conv":
            module = self._convolution(token, steps, widens)
            self._init += fitted(f"self.{attribute} = {module}", 8)
        elif name != "dropout" or self._counts[name] == 1:  # All places share one dropout.
            module = module_call(token, self._channels, rate=steps[0].rate)
            self._init.append(f"self.{attribute} = {module}")
            if OPERATIONS[token].ordinary:
                self._init.append(f"nn.init.zeros_(self.{attribute}.weight)  # starts at zero")
        return f"self.{attribute}(x)"

    def _convolution(self, token: str, steps: list[Step], widens: bool) -> str:
        inputs = self._channels
        groups = inputs
        if not token.startswith("dw"):
            if widens:
                names = (self._width, "both") if is_dual(self.kind.merge) else (self._width,)
                self._channels = self._named([step.outputs for step in steps], *names, "inner")
            numbers = [step.groups for step in steps]
            groups = str(numbers[0]) if len(set(numbers)) == 1 else self._named(numbers, "groups")
        stride = "1"
        if any(step.stride != 1 for step in steps):
            stride = self._named([step.stride for step in steps], "stride")
        return convolution(inputs, self._channels, steps[0].kernel, stride, groups)

    def _named(self, numbers: list[int], *names: str) -> str:
        """Return the first of the names that has these values in the blocks."""
        name = next(name for name in names if self._values[name] == numbers)
        self._used.add(name)
        return name

    def _inner_expression(self) -> str:
        """Return ``inner`` as an expression of the width; empty if the stages' ratios differ."""
        stages = [run.fields for run in self.kind.runs]
        ratio = stages[0].bottleneck_ratio
        if any(stage.bottleneck_ratio != ratio for stage in stages):
            return ""
        if ratio == int(ratio):
            return f"{int(ratio)} * {self._width}"
        part = round(1 / ratio)
        if part == 1 / ratio and all(stage.inner == stage.width // part for stage in stages):
            return f"{self._width} // {part}"
        if all(stage.inner == round(ratio * stage.width) for stage in stages):
            return f"round({ratio!r} * {self._width})"
        return f"max(1, round({ratio!r} * {self._width}))"

    def _join(self) -> tuple[list[str], list[str], list[str]]:
        """Add the modules of the shortcut and the merge.

        Returns:
            Lines of ``forward`` before the opening, after it, and after the branch.
        """
        if not any(block.merge for block in self._blocks):
            return [], [], []
        joined = next(block for block in self._blocks if block.merge)
        code = MERGES[self.kind.merge].code(joined)
        made, merge = list(code.made), list(code.lines)
        self._used.update(code.uses)
        if any(rate for run in self.kind.runs for rate in run.drop_paths):
            self._init.append("self.drop_path = DropPath(drop_path)")
            self._used.add("drop_path")
            merge.insert(0, "x = self.drop_path(x)")
        if not all(block.merge for block in self._blocks):
            self._init.append(f"self.has_shortcut = {self._condition('==', ' and ')}")
            self._init += ["if self.has_shortcut:", *deeper(made)] if made else []
            return ["shortcut = x"], [], ["if self.has_shortcut:", *deeper(merge)]
        before, opened = self._carry()
        self._init += made
        return before, opened, merge

    def _carry(self) -> tuple[list[str], list[str]]:
        """Add the modules of the shortcut; return the lines before the opening and after it."""
        # Shortcuts of one kind are the same, except that average pooling needs a stride: the
        # longest includes all steps.
        steps = max((block.shortcut or () for block in self._blocks), key=len)
        if not steps:
            return ["shortcut = x"], []
        reads_opening = bool(self.kind.layout.opening) and any(s.op == "conv" for s in steps)
        module = self._shortcut(steps)
        if all(block.shortcut for block in self._blocks):
            self._init += chained("self.shortcut", module, 8)
            read = ["shortcut = self.shortcut(x)"]
            return ([], read) if reads_opening else (read, [])
        changes = f"if {self._condition('!=', ' or ')}:"
        if reads_opening:
            self._init += ["self.projection = None", changes]
            self._init += deeper(chained("self.projection", module, 12))
            opened = ["if self.projection is not None:", "    shortcut = self.projection(x)"]
            return ["shortcut = x"], opened
        self._init += ["self.shortcut = nn.Identity()", changes]
        self._init += deeper(chained("self.shortcut", module, 12))
        return ["shortcut = self.shortcut(x)"], []

    def _shortcut(self, steps: Steps) -> list[str]:
        carried = self._carried
        self._used.add(carried)
        strided = any(block.stride != 1 for block in self._blocks)
        if strided:
            self._used.add("stride")
        modules = []
        for step in steps:
            if step.op == "pad":
                stride = ", stride" if strided else ""
                modules.append(f"PadShortcut({carried} - in_channels{stride})")
            elif step.op == "avgpool":
                modules.append(module_call("avgpool", "in_channels", size="stride"))
                strided = False
            elif step.op == "conv":
                stride = "stride" if strided else "1"
                modules.append(convolution("in_channels", carried, 1, stride, "1"))
            else:
                modules.append(module_call(step.op, carried))
        return modules

    def _condition(self, relation: str, word: str) -> str:
        """Return a comparison of input and output in all properties that differ anywhere."""
        parts = []
        if any(block.stride != 1 for block in self._blocks):
            parts.append(f"stride {relation} 1")
            self._used.add("stride")
        if any(block.inputs != block.outputs for block in self._blocks):
            parts.append(f"in_channels {relation} out_channels")
            self._used.add("out_channels")
        return word.join(parts)


def _unfolded(block: Block, layout: Layout) -> Block:
    """Move operations from the branch back to ``after`` if the plan appended them without a join.

    Then one class can be used for the blocks of a stage with and without a shortcut.
    """
    if block.merge is not None or len(block.after) == len(layout.after):
        return block
    cut = len(block.branch) - len(layout.after)
    return block._replace(branch=block.branch[:cut], after=block.branch[cut:])


def _listed(word: str, ends: Sequence[object]) -> str:
    """Return "stage 1", "stages 1, 2 and 3", or nothing."""
    *before, last = map(str, ends) if ends else [""]
    return f"{word}s {', '.join(before)} and {last}" if before else f"{word} {last}" if last else ""
