"""Would equal cells, stacked into one model, train faster on this CPU? Their products, stacked and one by one.

    python benchmarks/stacked.py

Products are what a stack could speed up: all else of a native step is the same arithmetic on as many numbers. Each row
is one step's products of K cells on one thread, by torch.bmm over the K of them, over K times torch.mm; below 1 a stack
would gain.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.limits import operands, products_of, seconds
from benchmarks.step import PRECISIONS, spec_of_width
from scaling_runs.data.prepare import prepare
from scaling_runs.spec import CellSpec
from tests.configs import config_of

WIDTHS = (16, 32, 64, 128)
STACKS = (2, 4, 8)


def stacked_over_single(spec: CellSpec, cells: int) -> float:
    """Seconds of `cells` equal steps' products as one stack, over those one by one."""
    together = apart = 0.0
    for (inner, outer), times in products_of(spec).items():
        x, weight, dy = operands(spec, inner, outer, cells)
        y, dx, dw = torch.empty_like(dy), torch.empty_like(x), torch.empty_like(weight)

        def one_by_one(x=x, weight=weight, dy=dy, y=y, dx=dx, dw=dw) -> None:  # type: ignore[no-untyped-def]
            for i in range(cells):
                torch.mm(x[i], weight[i].T, out=y[i])
                torch.mm(dy[i], weight[i], out=dx[i])
                torch.mm(dy[i].T, x[i], out=dw[i])

        def as_stack(x=x, weight=weight, dy=dy, y=y, dx=dx, dw=dw) -> None:  # type: ignore[no-untyped-def]
            torch.bmm(x, weight.mT, out=y)
            torch.bmm(dy, weight, out=dx)
            torch.bmm(dy.mT, x, out=dw)

        apart += times * seconds(one_by_one)
        together += times * seconds(as_stack)
    return together / apart


def main() -> None:
    torch.set_num_threads(1)
    corpus = prepare(config_of().data)
    print("width  precision  " + "  ".join(f"{cells} cells" for cells in STACKS))
    for width in WIDTHS:
        for precision in PRECISIONS:
            spec = spec_of_width(corpus, width, "adamw", precision)
            ratios = "  ".join(f"{stacked_over_single(spec, cells):7.2f}" for cells in STACKS)
            print(f"{width:5d}  {precision:>9}  {ratios}", flush=True)


if __name__ == "__main__":
    main()
