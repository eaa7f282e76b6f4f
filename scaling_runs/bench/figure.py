"""A profile as a figure: speed and utilisation by size."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fit.report.canvas import label_log_axis, new_figure, save
from scaling_runs.bench.profile import Profile, Row
from scaling_runs.numbers import count, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (
    "tab:blue",
    "tab:orange",
    "tab:green",
    "tab:purple",
    "tab:red",
    "tab:brown",
    "tab:cyan",
    "tab:olive",
)
"""By batch."""
STYLES = {"fp32": "-", "bf16": "--"}
MARKERS = "os^Dvx*P"
"""By devices."""


def draw_profile(profile: Profile, path: Path) -> None:
    """A line each batch, precision, compile and number of devices, into `path`."""
    lines: dict[tuple[int, str, bool, int], list[Row]] = defaultdict(list)
    for row in sorted(profile.rows, key=lambda row: row.setting.params):
        one = row.setting
        lines[one.batch_tokens, one.precision, one.compile, one.devices].append(row)
    figure, (left, right) = new_figure(2, width=13)
    batches = sorted({key[0] for key in lines})
    devices = sorted({key[3] for key in lines})
    for key in sorted(lines):
        tokens, precision, compiled, several = key
        style: dict[str, Any] = {
            "color": COLOURS[batches.index(tokens) % len(COLOURS)],
            "linestyle": STYLES[precision],
            "marker": MARKERS[devices.index(several) % len(MARKERS)],
            "markersize": 5,
            "fillstyle": "full" if compiled else "none",
            "label": f"{count(tokens)} tokens, {precision}{', compiled' * compiled}, {number(several, 'device')}",
        }
        sizes = [row.setting.params for row in lines[key]]
        left.plot(sizes, [row.tokens_per_s for row in lines[key]], **style)
        right.plot(sizes, [100 * profile.mfu(row) for row in lines[key]], **style)
    _finish(left, "tokens a second, all devices")
    left.set_yscale("log")
    label_log_axis(left.yaxis, count)
    _finish(right, "MFU, % of a device's peak")
    right.set_ylim(bottom=0)
    figure.suptitle(f"{profile.machine}, torch {profile.torch}")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    save(figure, path)


def _finish(axes: Axes, label: str) -> None:
    axes.set_xscale("log")
    label_log_axis(axes.xaxis, count)
    axes.set_xlabel("params, embeddings included")
    axes.set_ylabel(label)
    axes.grid(which="both", alpha=0.2)
