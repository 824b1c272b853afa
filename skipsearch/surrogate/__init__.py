"""A probabilistic model of a search space: it proposes designs, and answers questions about them.

``encoding`` turns candidates into rows of numbers, ``warp`` accuracies into values that are fit for
a normal model, ``kernel`` says how alike two designs are expected to be, ``process`` fits a
Gaussian process and returns its posterior, and ``acquisition`` says what is worth training next.
``answers`` says what draws of it tell about the levels of an axis, ``question`` which training
narrows such an answer most, ``sentences`` says it in words, and ``inquiry`` puts questions to a
space.
Everything here is pure arithmetic in numpy and scipy: no study, no torch, no clock.
"""
