"""Confirmation of the leaders with new seeds: the probability of the best, and the effect of luck.

The best of many single draws looks better than it is. New seeds, which did not affect the choice
of the search, show by how much. All values are from the last epoch of the full budget, without
early stopping. They are from the validation split of the search: new seeds correct for lucky draws,
but not for the fit to that split. The test split is for that.
"""
