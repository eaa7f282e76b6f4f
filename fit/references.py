"""Published laws, each with its source and its convention."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from fit.errors import UserError


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


def _from_surface(
    name: str,
    title: str,
    source: str,
    surface: tuple[float, float, float, float],
    flops_range: tuple[float, float],
) -> PublishedLaw:
    """The minimum of E + a/N^alpha + b/D^beta on C = 6·N·D (Hoffmann et al., arXiv 2203.15556, eq. 4)."""
    a, b, alpha, beta = surface
    ratio = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
    params_exponent, tokens_exponent = beta / (alpha + beta), alpha / (alpha + beta)
    return PublishedLaw(
        name=name,
        title=title,
        source=source,
        convention="N all parameters, C = 6ND",
        tokens_exponent=tokens_exponent,
        tokens_coefficient=6**-tokens_exponent / ratio,
        params_exponent=params_exponent,
        params_coefficient=6**-params_exponent * ratio,
        flops_range=flops_range,
        note=f"the minimum of the surface with a={a:g}, b={b:g}, alpha={alpha:g}, beta={beta:g}",
    )


_HOFFMANN = "arXiv 2203.15556"
_HOFFMANN_BUDGETS = (6e18, 3e21)

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
    (406.4, 410.7, 0.34, 0.28),
    _HOFFMANN_BUDGETS,
)
LAWS: tuple[PublishedLaw, ...] = (
    LLAMA3,
    HOFFMANN,
    *(
        PublishedLaw(
            name=f"hoffmann{number}",
            title=f"Hoffmann et al. (Chinchilla), approach {number}",
            source=f"{_HOFFMANN}, table 2",
            convention="N all parameters, C = 6ND",
            tokens_exponent=tokens,
            tokens_coefficient=None,
            params_exponent=params,
            params_coefficient=None,
            flops_range=_HOFFMANN_BUDGETS,
            note="exponents only: no coefficient is published",
        )
        for number, params, tokens in ((1, 0.50, 0.50), (2, 0.49, 0.51))
    ),
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
