"use strict";
// Everything here is a convenience: without it the page says the same.
(() => {
  const $ = (id) => document.getElementById(id);
  document.documentElement.classList.add("js");
  for (const hidden of document.querySelectorAll(".copy, .tools")) hidden.hidden = false;

  // --- copy ---------------------------------------------------------------------------------------------------------
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.body.appendChild(document.createElement("textarea"));
      area.value = text;
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest(".copy");
    if (!button) return;
    await copy($(button.dataset.copy).textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });

  // --- filter and sort, kept in the address: #figures?q=float16&sort=8&down=1 ------------------------------------------
  const state = { q: {}, sort: {} };
  function apply(table) {
    const words = (state.q[table.id] || "").toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      const cells = Array.from(row.cells, (cell) => cell.textContent.toLowerCase());
      row.hidden = !words.every((word) => cells.includes(word) || (!exact.has(word) && text.includes(word)));
      shown += !row.hidden;
    }
    const label = document.querySelector(`[data-shown="${table.id}"]`);
    if (label) label.textContent = shown === table.tBodies[0].rows.length ? `${shown} rows` : `${shown} of ${table.tBodies[0].rows.length} rows`;
    const box = table.closest("details");
    if (box && words.length) box.open = true;
  }
  // A word that is the whole of some cell, as "softmax" or "float16", means that cell, not all that contain it.
  const exact = new Set();
  for (const head of document.querySelectorAll(".heat th")) exact.add(head.textContent.toLowerCase());

  function value(cell) {
    const text = cell.textContent.trim().replace(/[\u202f\s]/g, "").replace(/^[▲▼<>]/, "");
    if (text === "∞") return Infinity;
    const found = parseFloat(text);
    return Number.isNaN(found) ? cell.textContent.trim().toLowerCase() : found;
  }
  function sort(table, column, down) {
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row) => [value(row.cells[column]), row]);
    const compare = (a, b) => (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1);
    rows.sort(([a], [b]) => (down ? compare(b, a) : compare(a, b)));
    body.append(...rows.map(([, row]) => row));
    Array.from(table.tHead.rows[0].cells, (head, n) => head.setAttribute("aria-sort", n !== column ? "none" : down ? "descending" : "ascending"));
    state.sort[table.id] = [column, down];
  }
  function remember(table) {
    const parameters = new URLSearchParams();
    if (state.q[table.id]) parameters.set("q", state.q[table.id]);
    if (state.sort[table.id]) {
      parameters.set("sort", state.sort[table.id][0]);
      if (state.sort[table.id][1]) parameters.set("down", "1");
    }
    history.replaceState(null, "", `#${table.id}${parameters.size ? "?" + parameters : ""}`);
  }
  function filter(table, text) {
    state.q[table.id] = text;
    const input = document.querySelector(`[data-filter="${table.id}"]`);
    if (input && input.value !== text) input.value = text;
    apply(table);
  }
  for (const table of document.querySelectorAll("table.data")) {
    Array.from(table.tHead.rows[0].cells, (head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const [before, down] = state.sort[table.id] || [];
        sort(table, column, before === column ? !down : head.classList.contains("n"));
        if (table.id) remember(table);
      });
    });
  }
  for (const input of document.querySelectorAll("[data-filter]")) {
    input.addEventListener("input", () => {
      filter($(input.dataset.filter), input.value);
      remember($(input.dataset.filter));
    });
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-filter-for]");
    if (!link) return;
    event.preventDefault();
    const table = $("all-figures");
    filter(table, link.dataset.text);
    remember(table);
    $("figures").scrollIntoView();
  });

  // --- where the address leads: what is closed opens, and a table takes its state --------------------------------------
  function fragment() {
    try {
      return decodeURI(location.hash.slice(1));
    } catch {
      return location.hash.slice(1); // it was typed, or cut short
    }
  }
  function arrive() {
    const [id, query] = fragment().split("?");
    const target = id && $(id);
    if (!target) return;
    for (let box = target.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
    if (query !== undefined && target.tBodies) {
      const parameters = new URLSearchParams(query);
      const column = parameters.get("sort");
      if (target.tHead.rows[0].cells[column]) sort(target, Number(column), parameters.has("down"));
      filter(target, parameters.get("q") || "");
    }
    target.scrollIntoView({ behavior: "instant" });
  }
  addEventListener("hashchange", arrive);
  arrive();

  // --- what a mark is ---------------------------------------------------------------------------------------------------
  const points = JSON.parse($("points").textContent);
  const tip = $("tip");
  let at = null;
  function nearest(svg, event) {
    const box = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
    let best = null, least = 14 * scale;
    for (const point of points[svg.dataset.plot]) {
      const distance = Math.hypot(point[0] - x, point[1] - y);
      if (distance < least) [best, least] = [point, distance];
    }
    return best;
  }
  document.addEventListener("pointermove", (event) => {
    const svg = event.target.closest("svg[data-plot]");
    at = svg && nearest(svg, event);
    tip.hidden = !at;
    if (svg) svg.style.cursor = at ? "pointer" : "";
    if (!at) return;
    const cells = Array.from($("f" + at[2]).cells, (cell) => cell.textContent.trim());
    const error = at[3] === "t" ? `torch ${cells.at(-1)} ulp` : `${cells[8]} ulp, ${cells[13]} × allowed`;
    tip.textContent = `${error}: ${[cells[2], cells[3], cells[4], cells[5], cells[7]].filter(Boolean).join(", ")}`;
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${event.clientY + 16 + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : event.clientY + 16}px`;
  });
  document.addEventListener("click", (event) => {
    if (at && event.target.closest("svg[data-plot]")) location.hash = "f" + at[2];
  });
})();
