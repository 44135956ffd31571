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
    "rudderhub worker": "worker",
    " beat ": "beat",
}


def cpu_seconds(root_pid: int) -> dict[str, float]:
    """User and system seconds so far, children that ended included, by part."""
    used: dict[str, float] = defaultdict(float)
    for pid in _tree(root_pid):
        if fields := _read(pid, "stat").rpartition(")")[2].split():
            used[_part(pid)] += sum(map(int, fields[11:15])) / TICKS
    return dict(used)


def memory_mb(root_pid: int) -> dict[str, float]:
    """Proportional set size in MB, by part: pages that processes share count once."""
    used: dict[str, float] = defaultdict(float)
    for pid in _tree(root_pid):
        for line in _read(pid, "smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                used[_part(pid)] += int(line.split()[1]) / 1024
    return dict(used)


def _tree(root_pid: int) -> list[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _read(int(entry.name), "stat").rpartition(")")[2]):
            children[int(fields.split()[1])].append(int(entry.name))
    found, waiting = [], [root_pid]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children[pid]
    return found


def _part(pid: int) -> str:
    command = _read(pid, "cmdline").replace("\0", " ")
    return next((part for text, part in PARTS.items() if text in command), "supervisor")


def _read(pid: int, name: str) -> str:
    """Empty for a process that has ended: its parent has its times by now."""
    try:
        return (Path("/proc") / str(pid) / name).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
