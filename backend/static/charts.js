// Draws each chart from the table that stands in its figure. Without this script the table is what there is.
// A page that changes a table sends its figure the event `figureschange`.
"use strict";

const SERIES = 6; // colours that the style has
const LYING = ["bars", "interval"]; // kinds whose rows lie below each other, however many there are
const SMALLEST_BUBBLE = 8; // pixels across
const LARGEST_BUBBLE = 56;
// How a row stands to the mark: told by a sign and a pattern as well as by colour.
const VERDICTS = { below: ["fault", "▼"], at: ["warn", "●"], above: ["leaf", "▲"] };

let colours = {};

function colour(name) {
  if (!colours[name]) {
    const probe = document.createElement("span");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    colours[name] = getComputedStyle(probe).color;
    probe.remove();
  }
  return colours[name];
}

function readTable(figure) {
  const table = figure.querySelector("table");
  const heads = [...table.tHead.rows[0].cells].filter((head) => "unit" in head.dataset);
  const rows = [...table.tBodies[0].rows];
  return {
    band: Number(figure.dataset.band ?? 0),
    mark: "mark" in figure.dataset ? Number(figure.dataset.mark) : null,
    verdicts: rows.map((row) => row.dataset.verdict),
    labels: rows.map((row) => row.cells[0].textContent.trim()),
    keys: rows.map((row) => row.dataset.key),
    series: heads.map((head, place) => ({
      name: head.textContent.trim(),
      unit: head.dataset.unit,
      most: "most" in head.dataset ? Number(head.dataset.most) : undefined,
      hasWords: "words" in head.dataset,
      values: rows.map((row) => (row.cells[place + 1].dataset.value === "" ? null : Number(row.cells[place + 1].dataset.value))),
      texts: rows.map((row) => row.cells[place + 1].textContent.trim()),
    })),
  };
}

// All figures of a row, as its table says them.
function told(table, place) {
  return [table.labels[place], ...table.series.map((each) => `${each.name}: ${each.texts[place]}`)].join("\n");
}

const localized = (number, how) => number.toLocaleString(document.documentElement.lang, how);
const toTenth = (number) => localized(number, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

function withUnit(unit) {
  return (value) => (value === null || value === undefined ? "–" : `${localized(value)}${unit}`);
}

function amounts(unit, more = {}) {
  return {
    type: "value",
    axisLabel: { color: colour("quiet"), fontSize: 12, formatter: withUnit(unit), hideOverlap: true },
    splitLine: { lineStyle: { color: colour("faint") } },
    ...more,
  };
}

// Labels as "29 Nov 14:00": every sixth hour is said, and the day where it is another than that before.
function hourLabels(labels) {
  const hours = labels.map((label) => label.match(/^(.*) (\d\d):\d\d$/));
  if (hours.includes(null)) return {};
  const isNewDay = (place) => place === 0 || hours[place][1] !== hours[place - 1][1];
  return {
    interval: (place) => isNewDay(place) || Number(hours[place][2]) % 6 === 0,
    formatter: (label, place) => (isNewDay(place) ? label : label.slice(-5)),
  };
}

// Where there is little room, long names take two lines.
function lyingLabel(kind) {
  const isNarrow = innerWidth < 640;
  if (kind === "interval") return { interval: 0, width: isNarrow ? 120 : 330, overflow: isNarrow ? "break" : "truncate", ...(isNarrow ? { fontSize: 10, lineHeight: 11 } : {}) };
  return { interval: 0, width: isNarrow ? 110 : 190, overflow: "truncate" };
}

function axes(kind, table) {
  const isLying = LYING.includes(kind);
  const label = { color: colour("quiet"), fontSize: 12, hideOverlap: !isLying };
  const names = {
    type: "category",
    data: table.labels,
    axisLabel: isLying ? { ...label, ...lyingLabel(kind) } : label,
    axisTick: { show: false },
    axisLine: { lineStyle: { color: colour("quiet") } },
  };
  if (kind === "area") {
    names.boundaryGap = false;
    Object.assign(names.axisLabel, hourLabels(table.labels));
  }
  const [first] = table.series;
  const most = first.most ?? (first.unit === " %" ? 100 : undefined);
  const unit = table.series.every((each) => each.unit === first.unit) ? first.unit : ""; // what stands on the axis counts for all
  const along = amounts(unit, most === undefined ? {} : { min: 0, max: most });
  if (first.hasWords) along.axisLabel.show = false;
  return isLying ? { xAxis: along, yAxis: { ...names, inverse: true } } : { xAxis: names, yAxis: along };
}

// The names stand below, where there is room for them, and not around the ring.
function donut(table) {
  const [only] = table.series;
  const whole = only.values.reduce((sum, value) => sum + value, 0);
  const part = (name) => `${name}: ${toTenth((100 * only.values[table.labels.indexOf(name)]) / whole)} %`;
  return {
    tooltip: { trigger: "item" },
    legend: { bottom: 0, textStyle: { color: colour("ink") }, formatter: part },
    series: [
      {
        type: "pie",
        radius: ["45%", "70%"],
        center: ["50%", "42%"],
        label: { show: false },
        data: table.labels.map((name, place) => ({ name, value: only.values[place] })),
      },
    ],
  };
}

// A bar that says how it stands to the mark.
function judged(series, verdicts, place) {
  const [name, sign] = VERDICTS[verdicts[place]];
  const pattern = { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 5], rotation: -Math.PI / 4, color: colour("paper") };
  return {
    value: series.values[place],
    itemStyle: { color: colour(name), ...(verdicts[place] === "below" ? { decal: pattern } : {}) },
    label: { show: true, position: "insideLeft", distance: 2, formatter: `${sign} ${series.texts[place]}`, color: colour("ink"), backgroundColor: colour("paper"), padding: [0, 3], lineHeight: 15 },
  };
}

function beside(kind, table) {
  const isJudged = table.verdicts.some((verdict) => verdict);
  const mark = table.mark === null ? [] : [{ [LYING.includes(kind) ? "xAxis" : "yAxis"]: table.mark }];
  const line = { silent: true, symbol: "none", label: { show: false }, lineStyle: { color: colour("ink"), type: "dashed" }, data: mark };
  return {
    ...axes(kind, table),
    tooltip: isJudged ? { formatter: (at) => told(table, at[0].dataIndex) } : {},
    series: table.series.map((each, number) => ({
      name: each.name,
      type: kind === "line" || kind === "area" ? "line" : isJudged && number > 0 ? "scatter" : "bar", // a dot beside the judged bar
      data: isJudged && number === 0 ? each.values.map((_, place) => judged(each, table.verdicts, place)) : each.values,
      ...(number === 0 ? { markLine: line } : {}),
      tooltip: { valueFormatter: withUnit(each.unit) },
      barMaxWidth: 32,
      symbolSize: kind === "area" ? 4 : isJudged ? 12 : 8,
      connectNulls: false,
      ...(kind === "area" ? { areaStyle: { opacity: 0.25 } } : {}),
    })),
  };
}

// Countries by their code; as far from zero on both sides, so that the middle of the colours is zero.
function map(table, borders) {
  const [only] = table.series;
  const known = only.values.filter((value) => value !== null);
  const far = Math.max(0.1, ...known.map((value) => Math.ceil(10 * Math.abs(value)) / 10));
  return {
    tooltip: { trigger: "item", formatter: (at) => (table.keys.includes(at.name) ? told(table, table.keys.indexOf(at.name)) : "") },
    visualMap: {
      min: -far,
      max: far,
      precision: 1,
      calculable: false,
      orient: "horizontal",
      left: "center",
      bottom: 0,
      itemHeight: 160,
      text: [`+${toTenth(far)}`, `−${toTenth(far)}`],
      textStyle: { color: colour("ink") },
      inRange: { color: [colour("series-2"), colour("middle"), colour("series-3")] },
    },
    series: [
      {
        type: "map",
        map: borders,
        nameProperty: "code",
        selectedMode: false,
        showLegendSymbol: false,
        left: 0,
        right: 0,
        top: 0,
        bottom: 40,
        itemStyle: { areaColor: colour("raised"), borderColor: colour("line"), borderWidth: 0.5 },
        emphasis: { label: { show: false }, itemStyle: { areaColor: null, borderColor: colour("ink"), borderWidth: 1.5 } },
        data: table.keys.flatMap((name, place) => (only.values[place] === null ? [] : [{ name, value: only.values[place] }])),
      },
    ],
  };
}

function bubbles(table) {
  const [across, up, size] = table.series;
  const most = Math.max(1, ...size.values);
  const shown = table.labels.map((_, place) => place).filter((place) => across.values[place] !== null && up.values[place] !== null);
  const named = (series) => ({ name: series.name, nameLocation: "middle", nameGap: 28, nameTextStyle: { color: colour("quiet") } });
  return {
    tooltip: { trigger: "item", formatter: (at) => told(table, at.data.place) },
    xAxis: amounts(across.unit, { ...named(across), min: 0, max: (value) => Math.max(3.5, Math.ceil(2 * value.max) / 2) }),
    yAxis: amounts(up.unit, { ...named(up), min: (value) => Math.min(-1, Math.floor(value.min)), max: (value) => Math.max(1, Math.ceil(value.max)) }),
    series: [
      {
        type: "scatter",
        symbolSize: (_, at) => Math.max(SMALLEST_BUBBLE, LARGEST_BUBBLE * Math.sqrt(size.values[at.data.place] / most)),
        itemStyle: { opacity: 0.6, borderColor: colour("ink"), borderWidth: 1 },
        label: { show: true, color: colour("ink"), formatter: (at) => table.keys[at.data.place] ?? table.labels[at.data.place], position: "top" },
        labelLayout: { hideOverlap: true },
        data: shown.map((place) => ({ value: [across.values[place], up.values[place]], place })),
      },
    ],
  };
}

// Each row lies as a point on its interval. Where also the widest interval leaves the band out, it is filled.
function interval(table) {
  const [point, ...ends] = table.series;
  const pairs = ends.filter((_, place) => place % 2 === 0).map((from, place) => [from.values, ends[2 * place + 1].values]);
  const [lows, highs] = pairs[pairs.length - 1];
  const isOutside = (place) => lows[place] >= table.band || highs[place] <= -table.band;
  const line = ([from, to], width) => ({
    type: "custom",
    silent: true,
    data: from.map((low, place) => [low, to[place], place]).filter(([low]) => low !== null),
    encode: { x: [0, 1], y: 2 },
    renderItem: (_, api) => {
      const [start, end] = [api.coord([api.value(0), api.value(2)]), api.coord([api.value(1), api.value(2)])];
      const stroke = colour(isOutside(api.value(2)) ? "series-1" : "quiet");
      return { type: "line", shape: { x1: start[0], y1: start[1], x2: end[0], y2: end[1] }, style: { stroke, lineWidth: width } };
    },
  });
  const along = axes("interval", table);
  const all = [table.band, -table.band, ...lows, ...highs].filter((value) => value !== null);
  const least = Math.min(...lows.filter((value) => value !== null)) >= 0 ? 0 : Math.min(...all); // some measures have no side below zero
  return {
    ...along,
    xAxis: { ...along.xAxis, min: least < 0 ? Math.floor(10 * least) / 10 : 0, max: Math.ceil(10 * Math.max(...all)) / 10 },
    tooltip: { trigger: "item", formatter: (at) => (at.data?.place === undefined ? "" : told(table, at.data.place)) },
    series: [
      ...pairs.map((pair, place) => line(pair, place === 0 ? 4 : 1.5)),
      {
        type: "scatter",
        symbol: "circle",
        symbolSize: 11,
        z: 3,
        data: point.values.flatMap((value, place) =>
          value === null
            ? []
            : [
                {
                  value: [value, place],
                  place,
                  itemStyle: {
                    color: colour(isOutside(place) ? "series-1" : "raised"),
                    borderColor: colour(isOutside(place) ? "series-1" : "quiet"),
                    borderWidth: 2,
                  },
                },
              ],
        ),
        markArea: {
          silent: true,
          itemStyle: { color: colour("faint"), opacity: 0.6 },
          data: table.band ? [[{ xAxis: Math.max(least, -table.band) }, { xAxis: table.band }]] : [],
        },
      },
    ],
  };
}

function drawn(figure, table) {
  const kind = figure.dataset.kind;
  if (kind === "donut") return donut(table);
  if (kind === "map") return map(table, figure.dataset.borders);
  if (kind === "bubbles") return bubbles(table);
  if (kind === "interval") return interval(table);
  return beside(kind, table);
}

function option(figure) {
  const table = readTable(figure);
  const own = drawn(figure, table);
  const hasLegend = table.series.length > 1 && !["bubbles", "interval"].includes(figure.dataset.kind);
  return {
    aria: { enabled: true, label: { description: figure.dataset.said } },
    animation: false,
    color: Array.from({ length: SERIES }, (_, place) => colour(`series-${place + 1}`)),
    textStyle: { fontFamily: "system-ui, sans-serif" },
    grid: { left: 8, right: 24, top: hasLegend ? 40 : 16, bottom: 8, outerBoundsMode: "same" },
    legend: hasLegend ? { top: 0, textStyle: { color: colour("ink") } } : { show: false },
    ...own,
    tooltip: {
      trigger: "axis",
      valueFormatter: withUnit(table.series[0].unit),
      renderMode: "richText", // HTML would bring styles of its own, which the pages' policy refuses
      confine: true,
      ...own.tooltip,
    },
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

// Rows that lie need their height, so that each can be read.
function fit(figure, place) {
  const rows = figure.querySelector("table").tBodies[0].rows.length;
  const height = LYING.includes(figure.dataset.kind) && rows > 10 ? `${3 + 1.5 * rows}rem` : "";
  if (place.style.height === height) return false;
  place.style.height = height;
  return true;
}

const charts = new Map();

async function borders(address) {
  if (!echarts.getMap(address)) echarts.registerMap(address, await (await fetch(address)).json());
}

async function start(figure) {
  if (figure.dataset.borders) await borders(figure.dataset.borders);
  const place = document.createElement("div");
  place.className = "drawing";
  figure.querySelector("details").before(place);
  figure.querySelector("details").open = false;
  fit(figure, place);
  const chart = echarts.init(place, null, { renderer: "canvas" });
  chart.setOption(option(figure));
  addPicture(figure, chart);
  chart.on("click", ({ dataIndex }) => figure.querySelector("tbody").rows[dataIndex]?.querySelector("th a")?.click());
  charts.set(figure, chart);
}

// Tooltips stay where they are.
function refresh(figure) {
  const chart = charts.get(figure);
  if (!chart) return;
  if (fit(figure, chart.getDom())) chart.resize();
  chart.setOption(option(figure));
}

function redraw() {
  colours = {};
  charts.forEach((chart, figure) => chart.setOption(option(figure), true));
}

document.querySelectorAll("figure.chart:has(table)").forEach(start);
document.addEventListener("figureschange", (event) => refresh(event.target));
addEventListener("resize", () => charts.forEach((chart) => chart.resize()));
addEventListener("beforeprint", () => charts.forEach((chart) => chart.resize({ width: 320 })));
addEventListener("afterprint", () => charts.forEach((chart) => chart.resize({ width: "auto" })));
document.addEventListener("themechange", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
