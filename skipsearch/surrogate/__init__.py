"""A probabilistic model of a search space that proposes designs and answers questions about them.

``encoding`` turns candidates into rows of numbers, and ``warp`` turns scores into values for a
normal model. ``kernel`` defines the expected similarity of two designs, ``observations`` combines
the trainings of a design, and ``scales`` finds the kernel's variances. ``process`` fits a Gaussian
process and returns its posterior, with sums that ``gram`` keeps, and ``acquisition`` rates designs
for the next training.
``answers`` compares the levels of an axis in posterior draws, ``question`` finds the training that
narrows such an answer most, ``sentences`` puts it into words, and ``inquiry`` applies all of it to
a space. The package only computes, in numpy and scipy. It accesses neither torch, nor the study,
nor the time.
"""
