#include "experiments/report/html_page.h"

#include <fmt/format.h>

#include "experiments/report/chart.h"

namespace stasis::experiments {
namespace {

// Series colours after Okabe and Ito, which readers with colour-blindness can tell apart; the dark
// page has lighter ones of the same hues.
constexpr std::string_view kLightAndDark = R"(
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --card: #f6f8fa; --soft: #57606a;
  --rule: #d8dee4; --bar: #3f76b5; --floor: #9aa5b1; --pass: #1a7f37; --fail: #b3261e; --warn: #8a5d00;
  --band: #57606a1f; --s0: #0072b2; --s1: #d55e00; --s2: #009e73; --s3: #b04a8f; --s4: #c98a00;
  --s5: #3a9fd6; --s6: #7a5bc7; --s7: #5c6670; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --card: #161b22;
  --soft: #9198a1; --rule: #30363d; --bar: #6ca4e8; --floor: #5b6672; --pass: #3fb950; --fail: #ff7b72;
  --warn: #d29922; --band: #9198a12b; --s0: #58a6e8; --s1: #ff8c4b; --s2: #3cc79d; --s3: #e58bc6;
  --s4: #f0b73a; --s5: #86cdf5; --s6: #b69cf0; --s7: #a3adb8; } }
)";

constexpr std::string_view kPage = R"(
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif;
  color: var(--ink); background: var(--paper); max-width: 74rem; margin: 0 auto 4rem; padding: 0 1.25rem; }
header { padding: 2rem 0 .5rem; border-bottom: 1px solid var(--rule); margin-bottom: 1.2rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; padding-top: .4rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; } h4 { margin: 1rem 0 .2rem; }
section.run { border-top: 3px solid var(--rule); margin-top: 3rem; }
p { max-width: 60rem; margin: .4rem 0; }
a { color: var(--bar); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { text-align: left; padding: .28rem .7rem .28rem 0; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
th { color: var(--soft); font-weight: 600; font-size: .82rem; }
td.n, th.n { text-align: right; white-space: nowrap; }
td.id { font-family: ui-monospace, "Liberation Mono", monospace; font-size: .84rem; }
td.v { white-space: nowrap; }
.banner { border-left: 4px solid var(--fail); background: var(--card); color: var(--fail);
  padding: .6rem 1rem; font-weight: 600; max-width: none; }
.pass { color: var(--pass); font-weight: 600; } .fail { color: var(--fail); font-weight: 600; }
.na, .soft { color: var(--soft); } .warn { color: var(--warn); font-weight: 600; }
td.soft { font-size: .86rem; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0; }
.tile { background: var(--card); border-radius: 8px; padding: .6rem 1rem; min-width: 8rem; }
.tile b { display: block; font-size: 1.45rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .85rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 31rem), 1fr)); gap: 1.4rem; }
figure { margin: 0; break-inside: avoid; }
figure.wide { grid-column: 1 / -1; }
figcaption b { display: block; margin-bottom: .1rem; }
figcaption { color: var(--soft); font-size: .88rem; margin-bottom: .5rem; }
figcaption b { color: var(--ink); font-size: 1rem; }
details > summary { cursor: pointer; color: var(--soft); margin: .8rem 0; }
.scroll { overflow-x: auto; }
)";

constexpr std::string_view kCharts = R"(
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--ink); font-size: 12.5px; font-family: inherit; }
svg .tick { fill: var(--soft); font-size: 11.5px; } svg .label { fill: var(--soft); }
svg .grid { stroke: var(--rule); stroke-width: 1; } svg .axis { stroke: var(--soft); stroke-width: 1; }
svg .bar { fill: var(--bar); } svg .floorbar { fill: var(--floor); } svg .band { fill: var(--band); }
svg .whisker { stroke: var(--ink); stroke-width: 1.5; }
svg .series .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg .series.dashed .line { stroke-dasharray: 5 3; }
svg .series .interval { stroke-width: 1.4; opacity: .75; }
svg .series .published { stroke-width: 2; fill: none; }
svg .ratio line { stroke-width: 2; }
svg .ratio.fail line { stroke: var(--fail); } svg .ratio.fail circle { fill: var(--fail); }
svg .ratio.pass line { stroke: var(--pass); } svg .ratio.pass circle { fill: var(--pass); }
svg .ratio.na line { stroke: var(--soft); } svg .ratio.na circle { fill: var(--soft); }
)";

constexpr std::string_view kPrint = R"(
@media print { :root { color-scheme: light; --ink: #000; --paper: #fff; --card: #f4f4f4; --soft: #444;
    --rule: #ccc; --bar: #3f76b5; --floor: #888; --pass: #1a7f37; --fail: #b3261e; --warn: #8a5d00;
    --s0: #0072b2; --s1: #d55e00; --s2: #009e73; --s3: #b04a8f; --s4: #c98a00; --s5: #3a9fd6;
    --s6: #7a5bc7; --s7: #5c6670; }
  body { font-size: 10pt; max-width: none; margin: 0; padding: 0; }
  .figures { grid-template-columns: 1fr 1fr; } section.run { break-before: page; border: 0; }
  h2, h3 { break-after: avoid; } tr, .tile { break-inside: avoid; } .scroll { overflow: visible; }
  details:not([open]) { display: none; } nav { display: none; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
@page { margin: 16mm; }
)";

std::string series_colours() {
  std::string css;
  for (int i = 0; i < 8; ++i) {
    css += fmt::format(
        "svg .s{0} .line, svg .s{0} .interval, svg .s{0} .published {{ stroke: var(--s{0}); }} "
        "svg .s{0} circle, svg .s{0} rect, svg .s{0} path:not(.line):not(.published), "
        "svg .part.s{0} {{ fill: var(--s{0}); }}\n",
        i);
  }
  return css;
}

}  // namespace

std::string html_page(std::string_view title, std::string_view body) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
      "<title>{}</title>\n<style>{}{}{}{}{}</style></head><body>\n{}</body></html>\n",
      escaped(title), kLightAndDark, kPage, kCharts, series_colours(), kPrint, body);
}

}  // namespace stasis::experiments
