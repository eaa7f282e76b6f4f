"""Published laws, each with its source and its convention."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from fit.errors import UserError
from fit.surface import Surface


@dataclass(frozen=True)
class PublishedLaw:
    """optimal tokens = tokens_coefficient · C^tokens_exponent, and the same for params, as far as published."""

    name: str
    title: str
    source: str
    convention: str
    tokens_exponent: float
    tokens_coefficient: float | None
    params_exponent: float | None
    params_coefficient: float | None
    flops_range: tuple[float, float] | None
    """Budgets of its experiments, where its source says."""
    note: str = ""
    params_convention: str = "all"
    """How its N is counted, as `models/flops.py` names it."""
    surface: Surface | None = None
    """L(N, D), where it is published."""


def _from_surface(
    name: str,
    title: str,
    source: str,
    surface: Surface,
    convention: str,
    flops_range: tuple[float, float] | None = None,
) -> PublishedLaw:
    """The lowest losses of a published surface on C = 6·N·D; its coefficients are the optima of one FLOP."""
    at_one = surface.optima(1.0)
    return PublishedLaw(
        name=name,
        title=title,
        source=source,
        convention=convention,
        tokens_exponent=surface.exponents["tokens"],
        tokens_coefficient=at_one["tokens"],
        params_exponent=surface.exponents["params"],
        params_coefficient=at_one["params"],
        flops_range=flops_range,
        note=f"the minimum of the surface with E={surface.floor:g}, a={surface.a:g}, b={surface.b:g}, "
        f"alpha={surface.alpha:g}, beta={surface.beta:g}",
        surface=surface,
    )


_HOFFMANN = "arXiv 2203.15556"
_HOFFMANN_BUDGETS = (6e18, 3e21)
_ALL_PARAMS = "N all parameters, C = 6ND"
_PF_DAY = 1e15 * 24 * 3600
"""FLOPs."""

LLAMA3 = PublishedLaw(
    name="llama3",
    title="Llama 3",
    source="arXiv 2407.21783, section 3.2.1",
    convention="C = 6ND for params; N all parameters",
    tokens_exponent=0.537,
    tokens_coefficient=0.299,
    params_exponent=None,
    params_coefficient=None,
    flops_range=(6e18, 1e22),
    note=(
        "A and alpha are published to three digits: at 3.8e25 FLOPs they give 16.3T tokens and 389B params by C = 6ND, "
        "where the paper, from its unrounded fit, prints 16.55T and 402B"
    ),
)
HOFFMANN = _from_surface(
    "hoffmann",
    "Hoffmann et al. (Chinchilla), approach 3",
    f"{_HOFFMANN}, eq. 10 and table 2",
    Surface(1.69, 406.4, 410.7, 0.34, 0.28),
    _ALL_PARAMS,
    _HOFFMANN_BUDGETS,
)
EPOCH = _from_surface(
    "epoch",
    "Besiroglu et al. (Epoch AI), approach 3 of Hoffmann et al. corrected",
    "arXiv 2404.10102, table 1",
    Surface(1.8172, 482.01, 2085.43, 0.3478, 0.3658),
    _ALL_PARAMS,
    _HOFFMANN_BUDGETS,
)
MUENNIGHOFF = _from_surface(
    "muennighoff",
    "Muennighoff et al., unrepeated data",
    "arXiv 2305.16264, appendix A",
    Surface(1.87, 521.0, 1488.0, 0.353, 0.353),
    "C = 6ND; tokens of C4, each seen once",
)
KAPLAN = PublishedLaw(
    name="kaplan",
    title="Kaplan et al.",
    source="arXiv 2001.08361, table 6",
    convention="N without embeddings, C_min = least compute, without embeddings",
    tokens_exponent=0.27,
    tokens_coefficient=2e10 / _PF_DAY**0.27,
    params_exponent=0.73,
    params_coefficient=1.3e9 / _PF_DAY**0.73,
    flops_range=None,
    params_convention="body",
    note=(
        "published as 1.3e9 params and 2e10 tokens times powers of C_min in PF-days, 8.64e19 FLOPs each; C_min is that "
        "of a batch far below the critical one, so 6·N·D of the two is not C_min"
    ),
)
DEEPSEEK = PublishedLaw(
    name="deepseek",
    title="DeepSeek LLM",
    source="arXiv 2401.02954, eq. 4",
    convention="C = M·D, M FLOPs a token with attention, without embeddings",
    tokens_exponent=0.4757,
    tokens_coefficient=5.8316,
    params_exponent=None,
    params_coefficient=None,
    flops_range=(1e17, 3e20),
    params_convention="body",
    note="the size is published as M = 0.1715·C^0.5243 FLOPs a token; C = 6ND takes M/6 for the params",
)
PORIAN = PublishedLaw(
    name="porian",
    title="Porian et al., tuned on RefinedWeb",
    source="arXiv 2406.19146",
    convention="N without input embedding, with output head, C = 6ND",
    tokens_exponent=0.503,
    tokens_coefficient=None,
    params_exponent=0.497,
    params_coefficient=None,
    flops_range=(1.25e16, 2.56e19),
    params_convention="no_embedding",
    note="exponents only; that of tokens is one less that of params, as C = 6ND",
)
DRAWN = (LLAMA3, HOFFMANN, EPOCH)
"""Optimal tokens by C = 6·N·D with a published coefficient, which a figure of a fit can show beside its own."""
LAWS: tuple[PublishedLaw, ...] = (
    LLAMA3,
    HOFFMANN,
    *(
        PublishedLaw(
            name=f"hoffmann{number}",
            title=f"Hoffmann et al. (Chinchilla), approach {number}",
            source=f"{_HOFFMANN}, table 2",
            convention=_ALL_PARAMS,
            tokens_exponent=tokens,
            tokens_coefficient=None,
            params_exponent=params,
            params_coefficient=None,
            flops_range=_HOFFMANN_BUDGETS,
            note="exponents only: no coefficient is published",
        )
        for number, params, tokens in ((1, 0.50, 0.50), (2, 0.49, 0.51))
    ),
    EPOCH,
    KAPLAN,
    DEEPSEEK,
    MUENNIGHOFF,
    PORIAN,
)


def published_law(name: str) -> PublishedLaw:
    """The law of this name. UserError lists those that there are."""
    for law in LAWS:
        if law.name == name:
            return law
    names = [law.name for law in LAWS]
    near = difflib.get_close_matches(name.lower(), names, 1)
    hint = f", did you mean {near[0]}?" if near else ";"
    raise UserError(f"law '{name}' is unknown{hint} choose one of {', '.join(names)}, or a fit's JSON file")
