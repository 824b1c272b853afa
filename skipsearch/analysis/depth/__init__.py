"""Does deeper degrade? Groups of trainings that differ in depth alone, a verdict on each, in words.

The function ``degradation`` is in ``answer``.
"""
