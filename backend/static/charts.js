// Draws each chart from the table that stands in its figure. Without this script the table is what there is.
"use strict";

const SERIES = 6; // colours that the style has

function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function readTable(figure) {
  const table = figure.querySelector("table");
  const heads = [...table.tHead.rows[0].cells].slice(1);
  const rows = [...table.tBodies[0].rows];
  return {
    labels: rows.map((row) => row.cells[0].textContent.trim()),
    series: heads.map((head, place) => ({
      name: head.textContent.trim(),
      unit: head.dataset.unit ?? "",
      values: rows.map((row) => (row.cells[place + 1].dataset.value === "" ? null : Number(row.cells[place + 1].dataset.value))),
      texts: rows.map((row) => row.cells[place + 1].textContent.trim()),
    })),
  };
}

function axes(kind, table, ink, faint) {
  const text = { color: ink, fontSize: 12 };
  const unit = table.series[0].unit;
  const amounts = {
    type: "value",
    axisLabel: { ...text, formatter: (value) => `${value.toLocaleString("en")}${unit}`, hideOverlap: true },
    splitLine: { lineStyle: { color: faint } },
    ...(unit === " %" ? { min: 0, max: 100 } : {}),
  };
  const names = {
    type: "category",
    data: table.labels,
    axisLabel: { ...text, hideOverlap: kind !== "bars", width: 130, overflow: kind === "bars" ? "truncate" : "none" },
    axisTick: { show: false },
    axisLine: { lineStyle: { color: ink } },
  };
  return kind === "bars" ? { xAxis: amounts, yAxis: { ...names, inverse: true } } : { xAxis: names, yAxis: amounts };
}

function drawn(kind, table) {
  if (kind === "donut") {
    const [only] = table.series;
    return [
      {
        type: "pie",
        radius: ["45%", "70%"],
        label: { formatter: "{b}\n{d} %", color: colour("ink") },
        data: table.labels.map((name, place) => ({ name, value: only.values[place] })),
      },
    ];
  }
  return table.series.map((each) => ({
    name: each.name,
    type: kind === "line" ? "line" : "bar",
    data: each.values,
    barMaxWidth: 32,
    symbolSize: 8,
    connectNulls: false,
  }));
}

function option(figure) {
  const kind = figure.dataset.kind;
  const table = readTable(figure);
  const ink = colour("quiet");
  const several = table.series.length > 1;
  return {
    aria: { enabled: true, label: { description: `${figure.querySelector("h2").textContent}. The figures are in the table below.` } },
    animation: false,
    color: Array.from({ length: SERIES }, (_, place) => colour(`series-${place + 1}`)),
    textStyle: { fontFamily: "system-ui, sans-serif" },
    grid: { left: 8, right: 24, top: several ? 40 : 16, bottom: 8, outerBoundsMode: "same" },
    legend: several ? { top: 0, textStyle: { color: colour("ink") } } : { show: false },
    tooltip: {
      trigger: kind === "donut" ? "item" : "axis",
      valueFormatter: (value) => (value === null || value === undefined ? "–" : `${value.toLocaleString("en")}${table.series[0].unit}`),
      renderMode: "richText", // HTML would bring styles of its own, which the pages' policy refuses
      confine: true,
    },
    ...(kind === "donut" ? {} : axes(kind, table, ink, colour("faint"))),
    series: drawn(kind, table),
  };
}

function addPicture(figure, chart) {
  const button = figure.querySelector("[data-picture]");
  button.hidden = false;
  button.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = chart.getDataURL({ type: "png", pixelRatio: 2, backgroundColor: colour("paper") });
    link.download = `${figure.id}.png`;
    link.click();
  });
}

const charts = [...document.querySelectorAll("figure.chart:has(table)")].map((figure) => {
  const place = document.createElement("div");
  place.className = "drawing";
  figure.querySelector("details").before(place);
  figure.querySelector("details").open = false;
  const chart = echarts.init(place, null, { renderer: "canvas" });
  chart.setOption(option(figure));
  addPicture(figure, chart);
  return [figure, chart];
});

const redraw = () => charts.forEach(([figure, chart]) => chart.setOption(option(figure), true));
addEventListener("resize", () => charts.forEach(([, chart]) => chart.resize()));
addEventListener("beforeprint", () => charts.forEach(([, chart]) => chart.resize({ width: 320 })));
addEventListener("afterprint", () => charts.forEach(([, chart]) => chart.resize({ width: "auto" })));
document.addEventListener("themechange", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
