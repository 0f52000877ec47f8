"""The style sheet of report.html: one calm column, small multiples, Okabe and Ito's colours, light and dark."""

# Colours: M. Okabe and K. Ito, "Color Universal Design" (2008), told apart by any eye; lightened for dark pages. Lines
# also differ by dashes, so that a print in grey is readable.
CSS = """
:root { --ink: #1c2024; --soft: #60676f; --faint: #e4e6e9; --page: #fcfcfb; --card: #ffffff; --code: #f4f5f6;
  --good: #00705a; --bad: #b34700; --link: #0067a6;
  --deduction: #0072b2; --abduction: #d55e00; --induction: #009e73; --error: #cc79a7;
  --c0: #0072b2; --c1: #e69f00; --c2: #009e73; --c3: #cc79a7; --c4: #56b4e9; --c5: #d55e00; --c6: #b5a900;
  --c7: #8a9097;
  --never: #7a8087; --r1: #0b4f7d; --r2: #2f86bd; --r3: #8cc4e6; --always: #d9dcdf; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --soft: #9aa2ab; --faint: #2c3137; --page: #14171a;
  --card: #1b1f23; --code: #22272c; --good: #4cc9a4; --bad: #ff9a5a; --link: #6bb8ec;
  --deduction: #56b4e9; --abduction: #ff9a5a; --induction: #3fcf9f; --error: #e09cc2;
  --c0: #56b4e9; --c1: #f0b429; --c2: #3fcf9f; --c3: #e09cc2; --c4: #2a8fd0; --c5: #ff8b45; --c6: #d8cd3f;
  --c7: #8a9097;
  --never: #767e87; --r1: #1d70a8; --r2: #56a9dc; --r3: #b4daf2; --always: #3b4249; } }
* { box-sizing: border-box; }
html { font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; color: var(--ink);
  background: var(--page); -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 3rem 1.25rem 6rem; max-width: 68rem; }
h1 { font-size: 2.1rem; line-height: 1.2; margin: .2rem 0 1.2rem; letter-spacing: -.02em; font-weight: 650;
  max-width: 26ch; text-wrap: balance; }
h2 { font-size: 1.35rem; margin: 4.5rem 0 .4rem; letter-spacing: -.01em; }
h3 { font-size: 1rem; margin: 2.2rem 0 .8rem; }
p { margin: .5rem 0; max-width: 44rem; }
a { color: var(--link); }
.over, .note, figcaption, .unit, .empty, .legend, summary { color: var(--soft); font-size: .875rem;
  line-height: 1.5; }
.over { font-size: .9rem; overflow-wrap: anywhere; }
.lead p { font-size: 1.1rem; margin: .7rem 0; }
.warn { border-left: 3px solid var(--bad); padding: .1rem 0 .1rem 1rem; margin: 1.2rem 0; max-width: 46rem; }
.warn li, .warn p { margin: .3rem 0; }
.warn ul { margin: 0; padding-left: 1rem; }
.unsafe { background: var(--bad); color: var(--page); padding: .8rem 1.1rem; border-radius: 8px; font-weight: 600;
  margin: 0 0 1.5rem; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: 2.2rem 0 0; font-size: .9rem; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
code, pre, .mono { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: .82rem; }
pre { background: var(--code); border-radius: 6px; padding: .6rem .8rem; margin: .25rem 0 .7rem; overflow: auto;
  max-height: 22rem; line-height: 1.5; white-space: pre-wrap; overflow-wrap: anywhere; tab-size: 4; }
.changes { display: grid; grid-template-columns: minmax(10rem, 1fr) auto auto minmax(11rem, auto) minmax(8rem, 1fr);
  gap: .3rem 1.6rem; align-items: center; margin: 1.6rem 0 .6rem; max-width: 54rem;
  font-variant-numeric: tabular-nums; }
.changes .row { display: contents; }
.changes .head span { color: var(--soft); font-size: .85rem; }
.changes .first { font-weight: 650; }
.changes .num { text-align: right; white-space: nowrap; }
.changes .span { grid-column: 1 / -1; margin-top: 1rem; color: var(--soft); font-size: .875rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); gap: 1.1rem;
  margin: .6rem 0; }
.broad { max-width: 54rem; }
.tall { grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); align-items: start; }
figure, .card { margin: 0; background: var(--card); border: 1px solid var(--faint); border-radius: 10px;
  padding: .9rem 1rem;
  min-width: 0; }
.top { display: flex; justify-content: space-between; align-items: baseline; gap: .8rem; }
.top b { font-size: 1.15rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
.top code { overflow-wrap: anywhere; color: var(--soft); }
figcaption { margin: .1rem 0 .5rem; }
.nowrap { white-space: nowrap; }
.top small { font-weight: 400; color: var(--soft); font-size: .8rem; }
.alarm { color: var(--bad); }
svg { width: 100%; height: auto; display: block; }
svg text { font-size: 11px; fill: var(--soft); font-family: inherit; font-variant-numeric: tabular-nums; }
.grid { stroke: var(--faint); stroke-width: 1; }
.line { fill: none; stroke-width: 1.6; stroke-linejoin: round; stroke-linecap: round; }
.raw { stroke-width: 1; opacity: .3; }
.line.all.raw { stroke-width: 1; }
.reading { fill: transparent; }
.reading:hover { fill: var(--soft); fill-opacity: .12; }
.zero { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 3; }
.whisker { stroke-width: 2.5; stroke-linecap: round; }
.change { height: 1.5rem; }
.better { stroke: var(--good); fill: var(--good); } .worse { stroke: var(--bad); fill: var(--bad); }
.unclear { stroke: var(--soft); fill: var(--soft); }
.legend { display: flex; flex-wrap: wrap; gap: .1rem .9rem; margin: .4rem 0 0; padding: 0; list-style: none;
  font-size: .8rem; }
.legend li { display: flex; align-items: center; gap: .4rem; }
.key { width: 1.3rem; height: .62rem; flex: none; }
.key .line { stroke-width: 3; }
.chip { display: inline-block; padding: 0 .5rem; border-radius: 99px; background: var(--code); font-size: .78rem;
  color: var(--soft); }
.right { color: var(--good); font-weight: 650; } .wrong { color: var(--bad); font-weight: 650; }
.label { font-size: .75rem; color: var(--soft); margin: .5rem 0 0; }
.marks { letter-spacing: .12em; }
details { margin: .8rem 0; } .card details { margin: .25rem 0; } summary { cursor: pointer; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; margin: .5rem 0; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; color: var(--soft); }
th, td { padding: .35rem 1.2rem .35rem 0; border-bottom: 1px solid var(--faint); vertical-align: top;
  overflow-wrap: anywhere; }
td code { white-space: pre-wrap; }
.meter { display: inline-block; height: .6rem; border-radius: 2px; background: var(--c0); vertical-align: middle; }
.settings td:first-child code, .facts td:first-child { white-space: nowrap; }
.reasons td:nth-child(-n+3), .reasons td:first-child code { white-space: nowrap; }
.on-phone { display: none; }
@media (max-width: 40rem) {
  body { padding-top: 1.5rem; } h1 { font-size: 1.7rem; } h2 { margin-top: 3.2rem; }
  .on-phone { display: block; } .on-desk { display: none; }
  .changes { grid-template-columns: 1fr auto auto; gap: .1rem 1rem; font-size: .92rem; }
  .changes .interval { grid-column: 1; text-align: left; color: var(--soft); padding-bottom: .5rem; }
  .changes .bar-cell { grid-column: 2 / -1; padding-bottom: .5rem; }
  .changes .head .interval, .changes .head .bar-cell { display: none; }
  .reasons thead { display: none; } .reasons, .reasons tbody { display: block; }
  .reasons tr { display: grid; grid-template-columns: 1fr auto auto; padding: .5rem 0;
    border-bottom: 1px solid var(--faint); }
  .reasons td { border: 0; padding: .1rem 0 .1rem .8rem; }
  .reasons td:first-child, .reasons td:last-child { padding-left: 0; } .reasons td:last-child { grid-column: 1 / -1; }
}
@media print { figure, .card { break-inside: avoid; } nav { display: none; } }
"""

LINE_STYLES = ("deduction", "abduction", "induction", "error", *(f"c{i}" for i in range(8)))
DASHES = {
    "abduction": "6 3", "induction": "1.5 3", "error": "8 3 2 3", "c1": "6 3", "c2": "1.5 3", "c4": "8 3 2 3",
    "c5": "3 3",
}  # fmt: skip


def style_sheet() -> str:
    """CSS with one rule per line colour and bar colour."""
    rules = [".line.all { stroke: var(--ink); stroke-width: 2.2; } .dot.all { fill: var(--ink); }"]
    for name in LINE_STYLES:
        dash = f" stroke-dasharray: {DASHES[name]};" if name in DASHES else ""
        rules.append(
            f".line.{name} {{ stroke: var(--{name});{dash} }} .dot.{name}, .bar.{name} {{ fill: var(--{name}); }}"
        )
    rules += [f".bar.{name} {{ fill: var(--{name}); }}" for name in ("never", "r1", "r2", "r3", "always")]
    return CSS + "\n".join(rules) + "\n"
