"""Confirmation of the leaders with new seeds: which is the best, how surely, and what was luck.

The best of many single draws looks better than it is. New seeds, which did not affect the choice
of the search, show by how much. All values are from the last epoch of the full budget, without
early stopping. They use the validation split of the search: new seeds correct for the luck of the
draw, but not for the fit to that split, which the test split is for.
"""
