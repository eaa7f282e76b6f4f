// The formulas of fit/advise.py, fit/tradeoff.py and fit/constraints.py, for the reader who moves a budget.
// tests/browser holds each of them to Python's numbers.
"use strict";

function decider(panel) {
  const K = panel.constants;

  const surfaceLoss = (s, params, tokens) =>
    s.floor +
    Math.exp(Math.log(s.a) - s.alpha * Math.log(params)) +
    Math.exp(Math.log(s.b) - s.beta * Math.log(tokens));

  // (params, tokens) of the lowest loss on C = k N D
  function surfaceOptimum(s, flops) {
    const total = s.alpha + s.beta;
    const logRatio = (Math.log(s.alpha * s.a) - Math.log(s.beta * s.b)) / total;
    const logProduct = Math.log(flops) - Math.log(K.flopsPerParamToken);
    const logParams = logRatio + (s.beta / total) * logProduct;
    return [Math.exp(logParams), Math.exp(logProduct - logParams)];
  }

  const axisValue = (axis, flops) =>
    Math.exp(Math.log(axis.coefficient) + axis.exponent * Math.log(flops));

  const quadratic = (matrix, x) =>
    matrix[0][0] + x * (matrix[0][1] + matrix[1][0]) + x * x * matrix[1][1];

  // 95% of the law's height, or null
  function axisInterval(axis, flops) {
    const line = axis.line;
    if (!line) return null;
    const x = Math.log(flops) - line.x0;
    const known = line.least * quadratic(line.known, x);
    const variance = line.two ? known : Math.max(quadratic(line.covariance, x), known);
    const half = line.t * Math.sqrt(variance);
    if (!(half > 0) && line.two) return null;
    const centre = line.intercept + line.slope * x;
    return [Math.exp(centre - half), Math.exp(centre + half)];
  }

  // A surface of the same exponents whose lowest point is here
  function laid(s, floor, reducible, params, ratio) {
    const { alpha, beta } = s;
    const total = alpha + beta;
    return {
      floor,
      a: ((reducible * beta) / total) * Math.pow(params, alpha),
      b: ((reducible * alpha) / total) * Math.pow(ratio * params, beta),
      alpha,
      beta,
    };
  }

  function tradeoffAt(law, flops, params, tokens) {
    const ratio = tokens / params;
    const onCost = Math.sqrt(flops / (K.flopsPerParamToken * ratio));
    const own = law.surface;
    let surface;
    if (own) {
      const best = surfaceLoss(own, ...surfaceOptimum(own, flops));
      surface = laid(own, own.floor, best - own.floor, onCost, ratio);
    } else {
      surface = laid(panel.borrowed, 0, 1, onCost, ratio);
    }
    const gamma = (surface.alpha * surface.beta) / (surface.alpha + surface.beta);
    const found = { flops, params: onCost, tokens: ratio * onCost, surface, lossKnown: Boolean(own) };
    found.loss = (n, d) => surfaceLoss(surface, n, d);
    found.bestLoss = found.loss(found.params, found.tokens);
    found.equalFlops = (loss) =>
      flops * Math.pow((loss - surface.floor) / (found.bestLoss - surface.floor), -1 / gamma);
    found.wasted = (loss) => 1 - found.equalFlops(loss) / flops;
    const sizes = (raised) => sizesRaising(found, raised);
    found.sizesWithin = (share) =>
      sizes(1 + (share * found.bestLoss) / (found.bestLoss - surface.floor));
    found.sizesWasting = (share) => sizes(Math.pow(1 - share, -gamma));
    return found;
  }

  // Params below and above the optimum at which what compute can lower is `raised` times its least
  function sizesRaising(tradeoff, raised) {
    const { alpha, beta } = tradeoff.surface;
    const over = (x) =>
      (beta * Math.exp(-alpha * x) + alpha * Math.exp(beta * x)) / (alpha + beta) - raised;
    const end = (sign) => {
      let far = sign;
      while (over(far) < 0) far *= 2;
      let near = 0;
      for (let i = 0; i < 200; i++) {
        const middle = (near + far) / 2;
        if (over(middle) < 0) near = middle;
        else far = middle;
      }
      return tradeoff.params * Math.exp((near + far) / 2);
    };
    return [end(-1), end(1)];
  }

  function advise(law, flops) {
    const tokens = axisValue(law.tokens, flops);
    const tokensCi95 = axisInterval(law.tokens, flops);
    let params, paramsCi95;
    if (law.params) {
      params = axisValue(law.params, flops);
      paramsCi95 = axisInterval(law.params, flops);
    } else {
      params = flops / (K.flopsPerParamToken * tokens);
      paramsCi95 = tokensCi95 && [1, 0].map((i) => flops / (K.flopsPerParamToken * tokensCi95[i]));
    }
    const tradeoff = tradeoffAt(law, flops, params, tokens);
    const own = law.lossLaw;
    let loss = tradeoff.lossKnown ? tradeoff.bestLoss : null;
    if (own) loss = own.floor + own.coefficient * Math.pow(flops, -own.exponent);
    const range = law.flopsRange;
    const beyond = range
      ? Math.max(0, Math.log10(flops / range[1]), Math.log10(range[0] / flops))
      : null;
    const found = { flops, tokens, tokensCi95, params, paramsCi95, loss, decadesBeyond: beyond, tradeoff };
    found.cautions = cautions(law, found);
    found.widening = widening(law, found);
    return found;
  }

  // Upper over lower end of the tokens' interval, at the nearest end of the law's data and here
  function widening(law, advice) {
    if (!law.flopsRange || !advice.tokensCi95) return null;
    const [low, high] = law.flopsRange;
    const there = axisInterval(law.tokens, advice.flops > high ? high : low);
    return there && [there[1] / there[0], advice.tokensCi95[1] / advice.tokensCi95[0]];
  }

  // Where the law's FLOPs are not those of the cost, or its two optima do not multiply to it
  function cautions(law, advice) {
    const found = [];
    if (law.flopsConvention !== null && law.flopsConvention !== "6nd") {
      found.push(
        `this law counts FLOPs as '${law.flopsConvention}', not by 6ND, which for small models is another cost`,
      );
    }
    const product = (K.flopsPerParamToken * advice.params * advice.tokens) / advice.flops;
    if (!(Math.abs(product - 1) < K.offBudget)) {
      found.push(
        `6ND of the law's own params and tokens is ${product.toFixed(2)}x the budget; losses and waste are of ` +
          "both scaled to it",
      );
    }
    return found;
  }

  // `times` the optimal params for the same FLOPs
  function neighbour(tradeoff, times) {
    const params = tradeoff.params * times;
    const tokens = tradeoff.tokens / times;
    const loss = tradeoff.loss(params, tokens);
    return { params, tokens, loss, wasted: tradeoff.wasted(loss) };
  }

  const worth = (size, unique, repeats) => {
    const excess = Math.max(size / unique - 1, 0);
    return Math.min(size, unique) + unique * repeats * -Math.expm1(-excess / repeats);
  };

  const mostParams = (memoryGb) => (memoryGb * 1e9) / K.bytesAParam;

  // constraints: {uniqueTokens, params, mostParams, inferenceTokens}, null or 0 where there is none. null where nothing
  // can be paid, or the params do not fit
  function bestChoice(tradeoff, constraints) {
    const free = { ...constraints, uniqueTokens: null };
    const choice = best(tradeoff, free);
    const unique = constraints.uniqueTokens;
    if (!choice || !unique || choice.tokens <= unique) return choice;
    return best(tradeoff, constraints);
  }

  function range(tradeoff, constraints) {
    const served = K.inferenceFlops * constraints.inferenceTokens;
    const unique = constraints.uniqueTokens;
    if (constraints.params) {
      if (constraints.mostParams && constraints.params > constraints.mostParams) return null;
      const most = served === 0 ? Infinity : tradeoff.flops / served;
      return constraints.params >= most ? null : [constraints.params, constraints.params];
    }
    let most =
      served === 0 ? tradeoff.params / K.smallest : (tradeoff.flops / served) * (1 - 1e-9);
    if (unique) most = Math.min(most, tradeoff.flops / (K.flopsPerParamToken * unique + served));
    if (constraints.mostParams) most = Math.min(most, constraints.mostParams);
    return [Math.min(tradeoff.params, most) * K.smallest, most];
  }

  function best(tradeoff, constraints) {
    const sizes = range(tradeoff, constraints);
    if (!sizes) return null;
    const served = K.inferenceFlops * constraints.inferenceTokens;
    const unique = constraints.uniqueTokens;
    const s = tradeoff.surface;
    const tokensOf = (params) => (tradeoff.flops / params - served) / K.flopsPerParamToken;
    const enough =
      unique &&
      Math.pow(((s.alpha * s.a) / (s.beta * s.b)) * Math.pow(unique, s.beta), 1 / s.alpha);
    const lossOf = (params) =>
      unique
        ? surfaceLoss(
            s,
            worth(params, enough, K.excessWorth),
            worth(tokensOf(params), unique, K.repeatsWorth),
          )
        : surfaceLoss(s, params, tokensOf(params));
    let [low, high] = sizes.map(Math.log);
    let params = NaN;
    for (let round = 0; round < 3; round++) {
      const count = high > low ? K.grid : 1;
      const step = count > 1 ? (high - low) / (count - 1) : 0;
      let at = 0;
      let least = Infinity;
      for (let i = 0; i < count; i++) {
        const loss = lossOf(Math.exp(low + i * step));
        if (loss < least) [at, least] = [i, loss];
      }
      params = Math.exp(low + at * step);
      [low, high] = [low + Math.max(at - 1, 0) * step, low + Math.min(at + 1, count - 1) * step];
    }
    const tokens = tokensOf(params);
    const loss = lossOf(params);
    return {
      params,
      tokens,
      loss,
      wasted: Math.max(0, tradeoff.wasted(loss)),
      epochs: unique ? tokens / unique : 1,
      inferenceFlops: K.inferenceFlops * params * constraints.inferenceTokens,
    };
  }

  return { advise, neighbour, bestChoice, mostParams, axisValue };
}

// Numbers as fit/report/numbers.py writes them
function short(value) {
  if (value === null) return "-";
  const rounded = Number(value.toPrecision(3));
  for (const [size, suffix] of [
    [1e12, "T"],
    [1e9, "B"],
    [1e6, "M"],
    [1e3, "K"],
  ]) {
    if (size <= rounded && rounded < 1000 * size) return digits(rounded / size, 3) + suffix;
  }
  return digits(rounded, 3);
}

// Python's format(value, ".{count}g")
function digits(value, count) {
  if (value === 0) return "0";
  const [mantissa, exponent] = value.toExponential(count - 1).split("e");
  const power = Number(exponent);
  const trimmed = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (power < -4 || power >= count) {
    const sign = power < 0 ? "-" : "+";
    return `${trimmed(mantissa)}e${sign}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  return trimmed(value.toFixed(Math.max(0, count - 1 - power)));
}
