"""The demo: five systems, solver regimes and normalization on real handwritten digits."""

from verification.demo._run import run_demo

__all__ = ["run_demo"]
