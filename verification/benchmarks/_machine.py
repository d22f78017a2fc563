"""What ratios depend on besides the code: processor, cores, platform, versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["load", "machine"]

PACKAGES = (
    "odecore", "torch", "numpy", "scipy", "jax",
    "torchdiffeq", "torchode", "diffrax", "nodepy", "torchjd",
)  # fmt: skip


def machine() -> dict[str, str]:
    """What a run was on, for its record."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every platform
        cores = os.cpu_count() or 1
    return {
        "processor": _processor(),
        "cores": str(cores),
        "platform": platform.platform(terse=True),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def load() -> float | None:
    """Processes that want to run, the mean over a minute; None where nobody counts them."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
