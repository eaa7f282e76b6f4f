"""Every code that a fit's findings can have: what it means, how it is decided, what to do.

`docs/warnings.md` is made of this; a test holds it to the codes that are given. The thresholds are those of the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fit.diagnostics import laws, outliers, runs, valleys
from fit.valley import MIN_SIZES


@dataclass(frozen=True)
class Explanation:
    """Of one code, a sentence or two each."""

    means: str
    decided: str
    """The rule, with its threshold."""
    mend: str
    """What to do."""


OF_VALLEYS: Mapping[str, Explanation] = {
    "too-few-sizes": Explanation(
        "The budget has too few model sizes for a parabola. It gives no optimum, and the law does without it.",
        f"Fewer than {MIN_SIZES} different sizes are left once unusable runs are set aside.",
        "Train more sizes at this budget, or mend the runs that were set aside.",
    ),
    "opens-downward": Explanation(
        "The parabola through the budget's runs has a maximum, not a minimum. The law does without this budget.",
        "The curvature of the least-squares parabola in log size is not positive.",
        "Look at the runs for one that failed or was mistuned; widen the grid.",
    ),
    "edge-minimum": Explanation(
        "The loss still falls at the edge of the grid, so the optimum lies beyond it. It is not extrapolated: the law "
        "does without this budget.",
        "The bottom of the parabola lies outside the sizes that were trained.",
        "Train further sizes on the side that is named; `sweep.planner=adaptive` does so by itself.",
    ),
    "poor-fit": Explanation(
        "The runs do not lie on a parabola, so its minimum may be anywhere.",
        f"R² of the parabola is below {valleys.POOR_R2:g}.",
        "Add seeds; fit fewer sizes about the minimum (`--window 4`); look for mistuned runs.",
    ),
    "shallow-valley": Explanation(
        "The valley is hardly deeper than the noise, so where its bottom lies is partly luck.",
        f"From the minimum to the lower end of the parabola it is less than {valleys.SHALLOW:g} standard deviations of "
        f"the noise: of equal cells with other seeds, or, where none was repeated, of the runs about their parabolas.",
        "Widen the grid (`sweep.span`), or train more seeds of each size (`sweep.seeds`).",
    ),
    "off-centre": Explanation(
        "The minimum lies near the edge of the grid; one arm of the valley is hardly seen and the parabola, which is "
        "symmetric where the loss is not, is off.",
        f"It lies in the outer {valleys.OFF_CENTRE:.0%} of the grid, in log size.",
        "Add sizes on the side that is named, or centre the grid (`sweep.expected_params`).",
    ),
    "one-sided": Explanation(
        "One arm of the parabola rests on a single run, or on none.",
        f"Fewer than {valleys.LEAST_A_SIDE} runs lie on one side of the minimum.",
        "Add runs on the side that is named.",
    ),
    "few-runs": Explanation(
        "The budget's runs lie on their parabola by construction, as three always do, and say nothing of their noise.",
        "No run is left over to tell noise from shape; the interval borrows the noise of the other budgets.",
        "Add runs at this budget.",
    ),
    "unsure-minimum": Explanation(
        "With slightly other noise the budget might have had no minimum inside its grid, and its own interval, which "
        "leaves such cases out, is too narrow.",
        f"More than {valleys.LOST:.0%} of the bootstrap's resamples have their minimum outside the grid.",
        "Widen the grid, or add seeds.",
    ),
    "outlier-run": Explanation(
        "One run lies far from the parabola of the others, and moves its minimum.",
        f"Its externally studentised residual is beyond Student's t at {outliers.ERROR:.0%}, shared by all runs of the "
        f"table (Bonferroni), and without it the optimum moves by more than "
        f"{float(np.exp(outliers.NOTICEABLE)) - 1:.0%}.",
        "Train it again, or find out what befell it. It is not left out by itself; `--robust` weighs it down.",
    ),
}

OF_LAWS: Mapping[str, Explanation] = {
    "no-law": Explanation(
        "There is no law along this axis.",
        "Fewer than 2 budgets have a usable minimum.",
        "See what is said of each budget; mend or add budgets.",
    ),
    "two-budgets": Explanation(
        "Two points always lie on a line, so nothing shows whether a power law holds.",
        "The law rests on exactly 2 budgets; its interval knows the noise inside each and no scatter.",
        "Add a budget, better two.",
    ),
    "carried-by-one-budget": Explanation(
        "Much of the exponent hangs on one budget.",
        f"Without it α lies outside its own 95% interval (and differs by more than {laws.SEEN:g}); tried with 3 to "
        f"{laws.MOST_LEFT_OUT} budgets.",
        "Look at that budget's runs; add a budget beside it.",
    ),
    "grid-drift": Explanation(
        "From small budgets to large ones the minimum wanders through the grid, and with it the parabola's error, "
        "which bends α.",
        f"The place of the minimum moves by more than {laws.DRIFT:.0%} of the grid from the first budget to the last, "
        f"and a t-test of its slope says that this is no chance (5%).",
        "Centre each budget's sizes on its own optimum (`sweep.expected_exponent`).",
    ),
    "grid-bias": Explanation(
        "Parabolas on this grid miss the true minima, as the surface L(N, D) through all runs shows, and the plain "
        "law is off by more than its uncertainty.",
        f"The plain α lies outside the corrected law's interval, or the plain law's height at the smallest or largest "
        f"budget does, by more than {float(np.exp(laws.NOTICEABLE)) - 1:.0%}.",
        "Use the corrected law, which the intervals are about; centre the grids.",
    ),
    "uneven-budgets": Explanation(
        "Some budgets are far surer than others, and the plain law, which counts all alike, is off by more than its "
        "uncertainty.",
        "As for grid-bias, where no bias of the grid could be corrected.",
        "Use the weighted law, which the intervals are about; look at the budgets whose intervals are wide.",
    ),
    "no-surface": Explanation(
        "No surface E + a·N^-α + b·D^-β can be laid through the runs, so nothing is corrected for what parabolas miss.",
        "The surface's fit fails, with its reason; with too few runs for one nothing is said.",
        "Add sizes and budgets.",
    ),
}

OF_RUNS: Mapping[str, Explanation] = {
    "derived-column": Explanation(
        "One of FLOPs, params and tokens is not in the table and was computed, so the two laws are one and the same "
        "information.",
        "A column is missing, and follows from C = 6·N·D.",
        "Add the column, or name it with `--column params=NAME`.",
    ),
    "impossible-size": Explanation(
        "Params or tokens are below one: they are in billions, or derived from something that is.",
        "A value is smaller than 1.",
        "Give FLOPs, params and tokens as counts.",
    ),
    "repeated-data": Explanation(
        "Runs passed over the same text often enough for repeats to be worth less than new text.",
        f"tokens over unique_tokens is more than {runs.EPOCHS:g} (Muennighoff et al., arXiv 2305.16264).",
        "Use a larger corpus, or leave these runs out.",
    ),
    "above-uniform": Explanation(
        "The loss is worse than guessing every token alike.",
        "loss > ln(vocab_size).",
        "Train again; make sure that the loss is in nats a token.",
    ),
    "overspent-budget": Explanation(
        "Runs did not spend the budget that they are counted under.",
        f"Their FLOPs are more than {float(np.exp(runs.NEAR)) - 1:.0%} off it.",
        "Train again to the budget, or mend the budget column.",
    ),
    "another-convention": Explanation(
        "FLOPs are not 6·N·D with these params, so the law's C is not the C of others' laws.",
        f"FLOPs over params times tokens is more than {float(np.exp(runs.NEAR)) - 1:.0%} off "
        f"{runs.BY_6ND:g}, and the table names no other count.",
        "Map the column that the text names, or ask for budgets in FLOPs as counted in the table.",
    ),
    "lr-at-edge": Explanation(
        "The best learning rate of a size is the largest or the smallest that was tried; a better one may lie beyond.",
        "Among runs of one budget and size with several rates, the lowest loss is at the end of the rates.",
        "Try further rates on the side that is named.",
    ),
    "duplicate-runs": Explanation(
        "Rows are the same as earlier ones, and were counted once.",
        "Equal FLOPs, params, tokens and loss, and the same seed where there is a seed column; or a run_id that was "
        "logged again.",
        "Remove the copies; tell runs of other seeds apart by a seed column.",
    ),
    "failed-runs": Explanation(
        "Runs that did not finish, or diverged, are not fitted. Where the failing sizes are all on one side, so is the "
        "valley.",
        "A status other than finished, or a loss that is missing or no number.",
        "Train them again.",
    ),
    "incomplete-runs": Explanation(
        "Rows lack a number that the fit needs, and are not fitted.",
        "The table has a column of FLOPs, params, tokens or budgets, and the row nothing in it.",
        "Fill it in, or map another column with `--column`.",
    ),
}

CODES: Mapping[str, Explanation] = {**OF_VALLEYS, **OF_LAWS, **OF_RUNS}
