"""CPU time and memory of an instance's processes, by part, from /proc."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PARTS = {
    "postgres": "postgres",
    "valkey": "valkey",
    "granian": "web",
    "celery -A rudderhub worker": "worker",
    "celery -A rudderhub beat": "beat",
}


def cpu_seconds(root_pid: int) -> dict[str, float]:
    """User and system seconds so far, children that ended included, by part."""
    used: dict[str, float] = defaultdict(float)
    for pid in _tree(root_pid):
        fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
        used[_part(pid)] += sum(map(int, fields[11:15])) / TICKS
    return dict(used)


def memory_mb(root_pid: int) -> dict[str, float]:
    """Proportional set size in MB, by part: pages that processes share count once."""
    used: dict[str, float] = defaultdict(float)
    for pid in _tree(root_pid):
        text = (Path("/proc") / str(pid) / "smaps_rollup").read_text()
        kilobytes = next(line.split()[1] for line in text.splitlines() if line.startswith("Pss:"))
        used[_part(pid)] += int(kilobytes) / 1024
    return dict(used)


def _tree(root_pid: int) -> list[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (entry / "stat").exists():
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children[parent].append(int(entry.name))
    found, waiting = [], [root_pid]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children[pid]
    return found


def _part(pid: int) -> str:
    command = (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return next((part for text, part in PARTS.items() if text in command), "supervisor")
