"""Quantiles of Student's t distribution."""

from scipy.special import stdtrit  # scipy.stats takes as long to import as pandas


def t_quantile(probability: float, df: float) -> float:
    """Return the quantile of Student's t distribution with ``df`` degrees of freedom."""
    return float(stdtrit(df, probability))
