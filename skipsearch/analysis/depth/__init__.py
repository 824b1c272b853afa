"""Degradation with depth: verdicts on groups of trainings that differ only in depth.

The function ``degradation`` is in ``answer``.
"""
