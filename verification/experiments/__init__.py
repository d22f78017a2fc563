"""Trainings that compare ways to a gradient; each module runs with `python -m`."""
