"""What is wrong with a page as a browser shows it; nothing if all is well.

Each check gives a list of complaints, so that a failure names what is wrong and where.
"""

from experiments.browser import Browser

# The element in words: what it is and the start of what it says.
_NAMED = """
const named = node => `${node.nodeName.toLowerCase()} ${JSON.stringify(
  (node.getAttribute?.("aria-label") ?? node.textContent).trim().slice(0, 40))}`;
const texts = function* () {
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode, parent = node.parentElement;
    if (!node.data.trim() || parent.closest("script, style")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    if (box.width && box.height) yield [node, parent, box];
  }
};
const wrong = [];
"""

_FIGURES = """
for (const svg of document.querySelectorAll("figure svg")) {
  const box = svg.getBoundingClientRect(), drawn = svg.getBBox();
  const frame = svg.closest(".scroll").getBoundingClientRect();
  if (!box.width || !box.height || !drawn.width || !drawn.height) wrong.push(`${named(svg)} is empty`);
  if (frame.left < 0 || frame.right > document.documentElement.clientWidth)
    wrong.push(`${named(svg)} is beside the page`);
  if (!svg.querySelector("path[d]")) wrong.push(`${named(svg)} has no line`);
  for (const use of svg.querySelectorAll("use")) {
    if (!document.querySelector(use.getAttribute("xlink:href")))
      wrong.push(`${named(svg)} lacks ${use.getAttribute("xlink:href")}`);
  }
  for (const text of svg.querySelectorAll("text")) {
    const own = text.getBoundingClientRect();
    if (own.left < box.left - 1 || own.right > box.right + 1 ||
        own.top < box.top - 1 || own.bottom > box.bottom + 1)
      wrong.push(`${named(svg)}: ${named(text)} is cut off`);
  }
}
"""

# Colours are laid over each other from the bottom up, as the page is painted.
_CONTRAST = """
const parse = text => {
  const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
  return [r, g, b, a];
};
const over = (top, below) => below.map((v, i) => i < 3 ? top[i] * top[3] + v * (1 - top[3]) : 1);
const paint = node => {
  const style = getComputedStyle(node);
  const svg = node instanceof SVGElement && node.nodeName !== "svg";
  const colour = svg ? style.fill : style.backgroundColor;
  if (!colour.startsWith("rgb")) return [0, 0, 0, 0];
  const [r, g, b, a] = parse(colour);
  return [r, g, b, a * (svg ? style.fillOpacity : 1) * style.opacity];
};
const luminance = colour => colour.slice(0, 3)
  .map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
for (const [node, parent, box] of texts()) {
  const stack = document.elementsFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  const place = stack.indexOf(parent);
  const below = [];
  if (place < 0) for (let up = parent; up; up = up.parentElement) below.push(up);
  else below.push(...stack.slice(parent instanceof SVGElement ? place + 1 : place));
  // A text of a figure lies on what was painted before it, which holds the figure's own ground.
  const ground = below.map(paint).reduceRight((under, top) => over(top, under), [255, 255, 255, 1]);
  const style = getComputedStyle(parent);
  const colour = parse(parent instanceof SVGElement ? style.fill : style.color);
  const [light, dark] = [luminance(over(colour, ground)), luminance(ground)].sort((a, b) => b - a);
  const ratio = (light + 0.05) / (dark + 0.05);
  if (!(ratio >= arguments[0])) wrong.push(`${named(parent)} has a contrast of ${ratio.toFixed(2)}`);
}
"""

_READABLE = """
const page = document.documentElement;
if (page.scrollWidth > page.clientWidth) wrong.push(`the page is ${page.scrollWidth} px wide`);
for (const [node, parent, box] of texts()) {
  const scale = parent instanceof SVGElement ? parent.getScreenCTM().a ** 2 + parent.getScreenCTM().b ** 2 : 1;
  const size = parseFloat(getComputedStyle(parent).fontSize) * Math.sqrt(scale);
  if (size < arguments[0] - 0.01) wrong.push(`${named(parent)} is of ${size.toFixed(1)} px`);
  const frame = parent.closest(".scroll");
  if (!frame && (box.left < 0 || box.right > page.clientWidth)) wrong.push(`${named(parent)} sticks out`);
}
for (const frame of document.querySelectorAll(".scroll")) {
  if (frame.scrollWidth > frame.clientWidth + 1 && getComputedStyle(frame).overflowX === "visible")
    wrong.push(`${named(frame)} is wider than its place`);
}
"""


def figures_that_do_not_show(browser: Browser) -> list[str]:
    """Figures that are empty, beside the page, or lack a part; texts cut off at their edges."""
    return _ask(browser, _FIGURES)


def faint_texts(browser: Browser, least: float = 4.5) -> list[str]:
    """Texts with less contrast to what is behind them, as WCAG 2 defines it."""
    return _ask(browser, _CONTRAST, least)


def unreadable_texts(browser: Browser, least: float = 12.0) -> list[str]:
    """Texts smaller than ``least`` pixels, or outside the page and of no scrolling box in it."""
    return _ask(browser, _READABLE, least)


def _ask(browser: Browser, script: str, *arguments: object) -> list[str]:
    browser.ask("for (const one of document.querySelectorAll('details')) one.open = true;")
    wrong: list[str] = browser.ask(f"{_NAMED}{script} return wrong;", *arguments)
    return wrong
