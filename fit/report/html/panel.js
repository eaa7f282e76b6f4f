// The decision panel: what the reader sets, and what follows from it.
"use strict";

function showPanel(panel) {
  const CONSTRAINTS = ["uniqueTokens", "params", "memory", "inferenceTokens"];
  const form = document.getElementById("panel");
  if (!form) return;
  const decide = decider(panel);
  const field = (name) => form.elements[name];
  const output = (name) => form.querySelector(`[data-output="${name}"]`);
  const percent = (share) => `${(100 * share).toFixed(1)}%`;
  const span = (found, text) => (found ? `${text(found[0])} to ${text(found[1])}` : "not known");
  const sure = (value, ci95) =>
    ci95 ? `${short(value)} [${short(ci95[0])}, ${short(ci95[1])}]` : short(value);

  // A positive number as people write it (5e21, 300B, 1.5T); null where the field is empty, NaN where it is none
  function amount(name) {
    // 1,000 or 1_000, but no decimal comma, which would be ten times as much or more
    const text = field(name).value.trim().replace(/(\d)[,_\s](?=\d{3}(?!\d))/g, "$1");
    if (text === "") return null;
    const found = /^(\d+\.?\d*|\.\d+)(e[+-]?\d+)?([KMBT]?)$/i.exec(text);
    if (!found) return NaN;
    const unit = { K: 1e3, M: 1e6, B: 1e9, T: 1e12 }[found[3].toUpperCase()] ?? 1;
    const value = Number(found[1] + (found[2] ?? "")) * unit;
    return value > 0 && value < 1e100 ? value : NaN;
  }

  // null where a field is wrong, each of which is marked
  function read() {
    const values = {};
    let good = true;
    for (const name of ["flops", ...CONSTRAINTS]) {
      values[name] = amount(name);
      const wrong = Number.isNaN(values[name]) || (name === "flops" && values[name] === null);
      field(name).setAttribute("aria-invalid", String(wrong));
      good = good && !wrong;
    }
    return good ? values : null;
  }

  function update() {
    const law = panel.laws[Number(field("law").value)];
    const values = read();
    const message = output("message");
    output("copied").textContent = "";
    form.classList.toggle("stale", !values); // no number, and no command to copy, of what was set before
    if (!values) {
      message.textContent =
        "A field holds no positive number; write 5e21, 300B or 1.5T, or leave a constraint empty.";
      return;
    }
    const advice = decide.advise(law, values.flops);
    const constraints = {
      uniqueTokens: values.uniqueTokens,
      params: values.params,
      mostParams: values.memory && decide.mostParams(values.memory),
      inferenceTokens: values.inferenceTokens ?? 0,
    };
    const choice = decide.bestChoice(advice.tradeoff, constraints);
    const tooMany = constraints.mostParams && constraints.params > constraints.mostParams;
    message.textContent = choice
      ? ""
      : tooMany
        ? `So many params do not fit: the memory holds ${short(constraints.mostParams)}.`
        : "Serving so many tokens of such a model costs more than the budget: nothing is left to train.";
    window.isoflopDecision = { law: law.option, advice, choice };
    showAdvice(law, advice);
    showChoice(law, advice, constraints, choice);
    showBalance(advice, constraints, choice);
    const own = law === panel.laws[0];
    output("command").textContent = choice ? command(law, values, own ? panel.build : []) : "";
    output("unwritten").textContent =
      own && !panel.written ? `The fit has to be in ${law.option} for that: --json ${law.option} writes it.` : "";
  }

  function showAdvice(law, advice) {
    const { tradeoff } = advice;
    output("tokens").textContent = sure(advice.tokens, advice.tokensCi95);
    output("params").textContent = sure(advice.params, advice.paramsCi95);
    output("ratio").textContent = digits(advice.tokens / advice.params, 3);
    output("loss").textContent =
      advice.loss === null ? "not known: this law has no loss" : `${digits(advice.loss, 4)} nats a token`;
    output("half").textContent = wasting(decide.neighbour(tradeoff, 0.5));
    output("twice").textContent = wasting(decide.neighbour(tradeoff, 2));
    output("good").textContent = tradeoff.lossKnown
      ? `${span(tradeoff.sizesWithin(0.001), short)} params`
      : `${span(tradeoff.sizesWasting(0.01), short)} params`;
    form.querySelector('[data-label="good"]').textContent = tradeoff.lossKnown
      ? "Within 0.1% of the best loss"
      : "Wasting at most 1% of the compute";
    const range = law.flopsRange;
    const beyond = advice.decadesBeyond;
    output("reach").textContent = !range
      ? "Where this law's data lies is not published."
      : beyond === 0
        ? `Inside the law's data (${digits(range[0], 3)} to ${digits(range[1], 3)} FLOPs).`
        : `Extrapolated ${beyond.toFixed(1)} decades beyond the law's data (${digits(range[0], 3)} to ` +
          `${digits(range[1], 3)} FLOPs)` +
          (advice.widening
            ? `: 95% of the tokens span a factor of ${digits(advice.widening[0], 3)} at their end and ` +
              `${digits(advice.widening[1], 3)} here.`
            : "; the law has no interval, so how far off it may be here is not known.");
    output("cautions").textContent = advice.cautions.map((text) => `Caution: ${text}.`).join(" ");
    output("source").textContent = law.surface
      ? law.source
      : `${law.source}; it has no loss, so what deviations waste is by the exponents of ${panel.borrowed.title}`;
  }

  const wasting = (one) =>
    `${short(one.params)} params on ${short(one.tokens)} tokens wastes ${percent(one.wasted)}`;

  function showChoice(law, advice, constraints, choice) {
    const bound = Object.values(constraints).some(Boolean);
    form.querySelector('[data-part="constrained"]').hidden = !bound || !choice;
    if (!bound || !choice) return;
    output("choice").textContent =
      `${short(choice.params)} params on ${short(choice.tokens)} tokens` +
      (choice.epochs > 1 ? `, ${digits(choice.epochs, 3)} epochs` : "") +
      (choice.inferenceFlops > 0
        ? `, ${digits(choice.inferenceFlops, 3)} FLOPs left for serving`
        : "");
    // of one surface both, where the loss above may be the loss law's
    const { lossKnown, bestLoss } = advice.tradeoff;
    output("choice-loss").textContent = lossKnown ? `${digits(choice.loss, 4)} nats a token` : "not known";
    output("free-loss").textContent = lossKnown
      ? `${digits(bestLoss, 4)} nats a token` + (law.lossLaw ? ", by the surface of all runs, as the one above" : "")
      : "not known";
    output("regret").textContent =
      percent(choice.wasted) +
      (constraints.inferenceTokens
        ? " of the FLOPs would not be needed to train to this loss alone"
        : " of the compute");
  }

  // What every size would waste at this cost, and where the optimum and the choice lie
  function showBalance(advice, constraints, choice) {
    const { tradeoff } = advice;
    const x = [];
    const y = [];
    for (let i = 0; i <= 120; i++) {
      const times = Math.pow(10, -1 + i / 60);
      const one = decide.neighbour(tradeoff, times);
      x.push(one.params);
      y.push(100 * one.wasted);
    }
    const traces = [
      {
        type: "scatter",
        mode: "lines",
        x,
        y,
        hovertemplate: "%{x:.3s} params waste %{y:.1f}%<extra></extra>",
        meta: { role: "ink" },
        showlegend: false,
      },
    ];
    if (choice && Math.abs(Math.log(choice.params / tradeoff.params)) > 1e-3) {
      traces.push({
        type: "scatter",
        mode: "markers",
        x: [choice.params],
        y: [100 * choice.wasted],
        marker: { size: 12, symbol: "diamond" },
        name: "with the constraints",
        meta: { role: "reference0" },
      });
    }
    drawChart(document.getElementById("chart-balance"), {
      data: traces,
      layout: {
        xaxis: { title: { text: "params N, at this cost" }, type: "log" },
        yaxis: { title: { text: "compute wasted, %" }, rangemode: "tozero" },
      },
    });
  }

  function command(law, values, build) {
    const quoted = (text) => (/^[\w./:=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
    const plain = (value) =>
      value.toPrecision(6).replace(/(\.\d*?)0+(e|$)/, "$1$2").replace(/\.(e|$)/, "$1");
    const parts = ["python -m fit advise", "--law", quoted(law.option), "--flops", plain(values.flops)];
    for (const [option, value] of [
      ["--max-tokens", values.uniqueTokens],
      ["--params", values.params],
      ["--memory", values.memory],
      ["--inference-tokens", values.inferenceTokens],
    ]) {
      if (value) parts.push(option, plain(value));
    }
    return [...parts, ...build.map(quoted)].join(" ");
  }

  function start() {
    field("law").value = "0";
    field("flops").value = digits(panel.flops, 3);
    slider.value = Math.log10(panel.flops);
    for (const name of CONSTRAINTS) field(name).value = "";
    update();
  }

  panel.laws.forEach((law, i) => field("law").add(new Option(i ? law.name : "this experiment's own law", i)));
  const slider = field("slider");
  slider.addEventListener("input", () => {
    field("flops").value = digits(Math.pow(10, Number(slider.value)), 3);
    update();
  });
  form.addEventListener("input", (event) => {
    if (event.target === slider) return;
    const flops = amount("flops");
    if (event.target === field("flops") && flops > 0) slider.value = Math.log10(flops);
    update();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  field("restart").addEventListener("click", start);
  field("copy").addEventListener("click", async () => {
    const text = output("command").textContent;
    try {
      await navigator.clipboard.writeText(text);
      output("copied").textContent = "copied";
    } catch {
      getSelection().selectAllChildren(output("command"));
      output("copied").textContent = "selected: copy it with the keyboard";
    }
  });
  start();
}
