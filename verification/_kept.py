"""What a run that can go on needs: files that are whole or absent, and a digest of the code."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

__all__ = ["sources", "write_whole"]

ROOT = Path(__file__).parents[1]


def sources() -> str:
    """A digest of the code that outcomes depend on."""
    digest = hashlib.sha256()
    for package in ("odecore", "torch_bridge", "verification"):
        for path in sorted((ROOT / package).rglob("*")):
            if path.suffix in {".py", ".json"}:
                digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def write_whole(path: Path, content: object) -> None:
    """All or nothing, also if the process or the machine stops."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
