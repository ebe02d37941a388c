// What pages do in a browser: draw charts, follow a live run, zoom, keys, light and dark. Asks nobody but the server of the page.
"use strict";
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => { try { return localStorage.getItem("trellis-theme"); } catch { return null; } };
  const applyTheme = () => { root.dataset.theme = stored() || (dark.matches ? "dark" : "light"); };
  applyTheme();

  const drawn = new Map(); // figure element -> {spec, text}
  let plotly = null;

  function loadPlotly() {
    if (window.Plotly) return Promise.resolve(window.Plotly);
    if (!plotly) plotly = new Promise((done, failed) => {
      const own = document.querySelector("script[src*='static/trellis.js']");
      const script = document.createElement("script");
      script.src = own.src.replace("trellis.js", "plotly.js");
      script.onload = () => done(window.Plotly);
      script.onerror = () => failed(new Error("the script for charts cannot be loaded"));
      document.head.append(script);
    });
    return plotly;
  }

  // Names of colours, such as @running or @app3/0.5, are looked up in the style sheet.
  function coloured(value, styles) {
    if (typeof value === "string" && value.startsWith("@")) {
      const [name, share] = value.slice(1).split("/");
      const colour = styles.getPropertyValue("--" + name).trim() || "#888888";
      if (share === undefined) return colour;
      const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
      return `rgba(${parts.join(",")},${share})`;
    }
    if (Array.isArray(value)) return value.map((one) => coloured(one, styles));
    if (value && typeof value === "object") {
      const found = {};
      for (const [key, one] of Object.entries(value)) found[key] = ["x", "y", "z", "base", "text", "name", "customdata"].includes(key) ? one : coloured(one, styles);
      return found;
    }
    return value;
  }

  function layoutOf(spec, styles) {
    const ink = styles.getPropertyValue("--ink").trim(), rule = styles.getPropertyValue("--rule").trim();
    const axis = { gridcolor: rule, linecolor: rule, zerolinecolor: rule, automargin: true, tickfont: { size: 11 } };
    const own = coloured(spec.layout, styles);
    return {
      height: 300, margin: { l: 56, r: 14, t: 8, b: 36 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, color: ink, size: 12 },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, xanchor: "left", font: { size: 11 } },
      hoverlabel: { bgcolor: styles.getPropertyValue("--card").trim(), bordercolor: rule, font: { color: ink } },
      dragmode: "zoom", uirevision: "kept", showlegend: spec.data.length > 1, ...own,
      xaxis: { ...axis, ...(own.xaxis || {}) }, yaxis: { ...axis, ...(own.yaxis || {}) },
    };
  }

  async function draw(figure, spec) {
    const Plotly = await loadPlotly();
    const plot = figure.querySelector(".plot");
    const styles = getComputedStyle(root);
    const layout = layoutOf(spec, styles);
    await Plotly.react(plot, coloured(spec.data, styles), layout, { responsive: true, displaylogo: false, displayModeBar: false, doubleClick: "reset" });
    figure.querySelector("figcaption").textContent = spec.summary;
    if (spec.head.length) {
      const details = figure.querySelector(".numbers");
      details.classList.remove("hidden");
      details.querySelector(".scroll").replaceChildren(tableOf(spec));
    }
    figure.dataset.drawn = "yes";
    wire(figure, plot);
  }

  function tableOf(spec) {
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const name of spec.head) { const cell = document.createElement("th"); cell.scope = "col"; cell.textContent = name; head.append(cell); }
    const body = table.createTBody();
    for (const row of spec.rows) { const line = body.insertRow(); for (const text of row) line.insertCell().textContent = text; }
    return table;
  }

  async function fetchChart(figure) {
    const given = figure.querySelector("script[type='application/json']");
    const caption = figure.querySelector("figcaption");
    try {
      const text = given ? given.textContent : await (async () => {
        const answer = await fetch(figure.dataset.chart, { headers: { Accept: "application/json" } });
        if (!answer.ok) throw new Error("the server answers " + answer.status);
        return answer.text();
      })();
      const before = drawn.get(figure);
      if (before && before.text === text) return;
      const spec = JSON.parse(text);
      drawn.set(figure, { spec, text });
      await draw(figure, spec);
    } catch (error) {
      caption.textContent = "This chart cannot be drawn: " + error.message;
      figure.dataset.drawn = "no";
    }
  }

  // -- zooming the stream: the server is asked for the part that is looked at ----------------------------------
  const asTime = (value) => typeof value === "number" ? value : Date.parse(String(value).replace(" ", "T").replace(/(\.\d{3})\d+/, "$1") + "Z");
  const part = { from: null, to: null, whole: null };

  function wire(figure, plot) {
    if (figure.dataset.wired) return;
    figure.dataset.wired = "yes";
    if (figure.id !== "chart-stream" || !figure.dataset.chart) return;
    part.whole = drawn.get(figure).spec.whole.map(asTime);
    plot.on("plotly_relayout", (change) => {
      const range = change["xaxis.range"] || (change["xaxis.range[0]"] !== undefined ? [change["xaxis.range[0]"], change["xaxis.range[1]"]] : null);
      if (range) show(asTime(range[0]), asTime(range[1]));
      else if (change["xaxis.autorange"]) show(null, null);
    });
    plot.on("plotly_click", (event) => {
      const data = event.points[0] && event.points[0].customdata;
      if (Array.isArray(data)) location.href = "task/" + encodeURIComponent(data[0]);
    });
  }

  function show(from, to) {
    const figure = document.getElementById("chart-stream");
    if (from !== null && !(to - from > 0.2)) return;
    Object.assign(part, { from, to });
    const query = from === null ? "" : `?from=${from.toFixed(1)}&to=${to.toFixed(1)}`;
    figure.dataset.chart = "figure/stream.json" + query;
    history.replaceState(null, "", location.pathname + query);
    fetchChart(figure).then(() => tell(figure.querySelector("figcaption").textContent));
  }

  function zoom(how) {
    const [low, high] = part.whole || [0, 0];
    let from = part.from ?? low, to = part.to ?? high;
    const width = to - from, middle = (from + to) / 2;
    if (how === "all") return show(null, null);
    if (how === "in") [from, to] = [middle - width / 4, middle + width / 4];
    if (how === "out") [from, to] = [middle - width, middle + width];
    if (how === "left") [from, to] = [from - width / 2, to - width / 2];
    if (how === "right") [from, to] = [from + width / 2, to + width / 2];
    if (from < low) [from, to] = [low, Math.min(high, low + (to - from))];
    if (to > high) [from, to] = [Math.max(low, high - (to - from)), high];
    if (to - from >= (high - low) * 0.999) return show(null, null);
    return show(from, to);
  }

  function tell(text) { document.getElementById("told").textContent = text; }

  // -- a live run: the page is asked for again, and what has changed is put in its place --------------------------
  const every = Number(root.dataset.refresh || 0) * 1000;
  let paused = false, busy = false;

  async function follow() {
    if (!paused && !busy && !document.hidden) {
      busy = true;
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
        if (answer.ok) {
          const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
          for (const mine of document.querySelectorAll("[data-live]")) {
            const theirs = fresh.querySelector(`[data-live="${mine.dataset.live}"]`);
            if (theirs && theirs.innerHTML !== mine.innerHTML && !mine.contains(document.activeElement)) mine.innerHTML = theirs.innerHTML;
          }
          await Promise.all([...document.querySelectorAll("figure[data-chart]")].map(fetchChart));
          if (!Number(fresh.documentElement.dataset.refresh)) { paused = true; tell("The run has ended."); return; }
        }
      } catch { /* the server has gone, or will be back: what is shown stays */ } finally { busy = false; }
    }
    setTimeout(follow, every);
  }

  function redraw() { for (const [figure, { spec }] of drawn) draw(figure, spec); }

  function switchTheme() {
    const next = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("trellis-theme", next); } catch { /* it lasts as long as the page */ }
    root.dataset.theme = next;
    redraw();
  }

  function pause() {
    const button = document.getElementById("pause");
    if (!button) return;
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    button.textContent = paused ? "Go on" : "Pause";
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    if (event.key === "/") { const search = document.getElementById("search"); if (search) { search.focus(); event.preventDefault(); } else { const tasks = document.querySelector("nav.tabs a[href$='tasks']"); if (tasks) { event.preventDefault(); tasks.click(); } } }
    else if (event.key === "d") switchTheme();
    else if (event.key === "p") pause();
    else if (/^[1-8]$/.test(event.key)) { const link = document.querySelectorAll("nav.tabs a")[Number(event.key) - 1]; if (link) link.click(); }
  }

  document.addEventListener("DOMContentLoaded", () => {
    dark.addEventListener("change", () => { if (!stored()) { applyTheme(); redraw(); } });
    document.getElementById("theme").addEventListener("click", switchTheme);
    document.getElementById("pause")?.addEventListener("click", pause);
    document.addEventListener("keydown", key);
    for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => zoom(button.dataset.zoom));
    const wanted = new URLSearchParams(location.search);
    const stream = document.getElementById("chart-stream");
    if (stream && stream.dataset.chart && wanted.has("from")) { Object.assign(part, { from: Number(wanted.get("from")), to: Number(wanted.get("to")) }); stream.dataset.chart += location.search; }
    const charts = [...document.querySelectorAll("figure.chart")];
    Promise.all(charts.map(fetchChart)).then(() => { root.dataset.ready = "yes"; if (every) setTimeout(follow, every); });
  });
})();
