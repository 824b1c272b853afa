"""Leaders trained again with new seeds: which is the best, how surely, and what was luck.

The best of many single draws looks better than it is. New seeds, which the search has not chosen
by, tell how much. All values are those after the last epoch of the full budget, without early
stopping. They are still of the validation split that the search chose by: new seeds undo the luck
of the draw, not the fit to that split, for which there is the test split.
"""
