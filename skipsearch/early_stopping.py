"""Early stopping: the rule, and the epochs at which trainings are compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from skipsearch.errors import RunError, counted, not_one_of

RULES = ("asha", "median", "none")


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """A rule that stops an unpromising training before its full budget.

    Attributes:
        rule: ``asha`` (Li et al. 2020, arXiv:1810.05934, stopping type): at each rung a training
            continues if it is among the best ``1 / reduction_factor`` of those that reached it.
            ``median`` (Golovin et al. 2017, section 3.2): after each epoch it continues unless its
            best value is below the median of the others' means up to that epoch. ``none``: no
            early stopping.
        grace: Minimum number of epochs of every training, and the first rung; None for the budget
            divided by ``reduction_factor`` squared, rounded up. Differences that appear only after
            a training was stopped are missed.
        reduction_factor: Factor of ``asha`` between the epochs of consecutive rungs.
        brackets: Number of brackets of ``asha``. Training n belongs to bracket b = n modulo
            ``brackets``, is compared within this bracket, and skips the b lowest rungs.
        audit: Share of the trainings to be stopped that are nevertheless trained to the end, to
            estimate how often stopping was wrong.

    Raises:
        RunError: If a value is out of range.
    """

    rule: str = "asha"
    grace: int | None = None
    reduction_factor: int = 3
    brackets: int = 1
    audit: float = 0.05

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise RunError(f"scheduler {not_one_of(self.rule, RULES)}")
        for name, least in (("grace", 1), ("reduction_factor", 2), ("brackets", 1)):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not (whole and value >= least) and (name, value) != ("grace", None):
                raise RunError(f"{name}: {value!r} is not a whole number from {least}")
        if isinstance(self.audit, bool) or not 0 <= self.audit <= 1:
            raise RunError(f"audit: {self.audit!r} is not a share from 0 to 1")

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """Return the epochs at which trainings are compared, ascending, the full budget last.

        Args:
            epochs: Full budget.

        Raises:
            RunError: If the budget is too small for the grace or the brackets.
        """
        if self.rule == "none":
            return (epochs,)
        rung = self.grace or -(-epochs // self.reduction_factor**2)
        if rung > epochs:
            raise RunError(f"grace: {rung} epochs are more than the full budget of {epochs}")
        below = []
        while rung < epochs:
            below.append(rung)
            rung *= self.reduction_factor
        if self.brackets > len(below) + 1:
            raise RunError(
                f"brackets: {self.brackets} asked for, and {counted(epochs, 'epoch')} hold"
                f" {counted(len(below) + 1, 'rung')}"
            )
        return (*below, epochs)

    def details(self) -> dict[str, float | None]:
        """Return all fields except the rule as plain values."""
        return {name: value for name, value in asdict(self).items() if name != "rule"}

    def is_audited(self, number: int, seed: int) -> bool:
        """Return whether a training that is to be stopped continues to the end.

        The decision is fixed for each number and seed.

        Args:
            number: Number of the training.
            seed: Seed of the search.
        """
        # Multiplying by the golden ratio spreads consecutive numbers evenly over [0, 1).
        return (number * 0.6180339887498949 + seed * 0.7548776662466927) % 1.0 < self.audit
