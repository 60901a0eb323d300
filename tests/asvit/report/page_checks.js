// What is wrong with the page, in words: each check returns one line for each complaint.

const named = node => {
  const says = node.getAttribute?.("aria-label") ?? node.textContent;
  return `${node.nodeName.toLowerCase()} ${JSON.stringify(says.trim().slice(0, 40))}`;
};

// Every text that takes room: the element that it is in, and its box.
const texts = () => {
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walk.nextNode()) {
    const node = walk.currentNode, parent = node.parentElement;
    if (!node.data.trim() || parent.closest("script, style")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    if (box.width && box.height) found.push([parent, box]);
  }
  return found;
};

const parse = text => {
  const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
  return [r, g, b, a];
};

const over = (top, below) => below.map((v, i) => i < 3 ? top[i] * top[3] + v * (1 - top[3]) : 1);

// What an element fills its place with, as red, green, blue and how much of it covers.
const paint = node => {
  const style = getComputedStyle(node), [r, g, b, a] = parse(style.backgroundColor);
  return [r, g, b, a * style.opacity];
};

// The colour behind a text: what is painted below its middle, laid over each other. Of a text
// outside the window, or scrolled out of its box, that is what it is in.
const ground = (parent, box) => {
  const stack = document.elementsFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  const place = stack.indexOf(parent), below = [];
  if (place < 0) for (let up = parent; up; up = up.parentElement) below.push(up);
  else below.push(...stack.slice(place));
  return below.map(paint).reduceRight((under, top) => over(top, under), [255, 255, 255, 1]);
};

// Relative luminance, as WCAG 2 defines it.
const luminance = colour => colour.slice(0, 3)
  .map(v => v / 255)
  .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);

const checks = {
  // Of the figures of a page.
  figures() {
    const wrong = [], width = document.documentElement.clientWidth;
    for (const image of document.querySelectorAll(".scroll > img")) {
      const frame = image.closest(".scroll").getBoundingClientRect();
      if (!(image.complete && image.naturalWidth && image.width)) wrong.push(`${image.alt} is empty`);
      if (frame.left < 0 || frame.right > width) wrong.push(`${image.alt} is beside the page`);
    }
    return wrong;
  },

  // Of the file of a figure, opened by itself.
  drawing(least) {
    const svg = document.documentElement, wrong = [];
    const box = svg.getBoundingClientRect(), drawn = svg.getBBox();
    if (!(box.width && box.height && drawn.width && drawn.height)) wrong.push("it is empty");
    for (const use of svg.querySelectorAll("use")) {
      const part = use.getAttribute("xlink:href");
      if (!document.querySelector(part)) wrong.push(`it lacks ${part}`);
    }
    for (const text of svg.querySelectorAll("text")) {
      const own = text.getBoundingClientRect(), scale = text.getScreenCTM();
      const size = parseFloat(getComputedStyle(text).fontSize) * Math.hypot(scale.a, scale.b);
      if (size < least - 0.01) wrong.push(`${named(text)} is of ${size.toFixed(1)} px`);
      if (own.left < box.left - 1 || own.right > box.right + 1 ||
          own.top < box.top - 1 || own.bottom > box.bottom + 1)
        wrong.push(`${named(text)} is cut off`);
    }
    return wrong;
  },

  contrast(least) {
    const wrong = [];
    for (const [parent, box] of texts()) {
      const style = getComputedStyle(parent), behind = ground(parent, box);
      const colour = over(parse(style.color), behind);
      const [light, dark] = [luminance(colour), luminance(behind)].sort((a, b) => b - a);
      const ratio = (light + 0.05) / (dark + 0.05);
      if (!(ratio >= least)) wrong.push(`${named(parent)} has a contrast of ${ratio.toFixed(2)}`);
    }
    return wrong;
  },

  readable(least) {
    const wrong = [], page = document.documentElement;
    if (page.scrollWidth > page.clientWidth) wrong.push(`the page is ${page.scrollWidth} px wide`);
    for (const [parent, box] of texts()) {
      const size = parseFloat(getComputedStyle(parent).fontSize);
      if (size < least - 0.01) wrong.push(`${named(parent)} is of ${size.toFixed(1)} px`);
      if (!parent.closest(".scroll") && (box.left < 0 || box.right > page.clientWidth))
        wrong.push(`${named(parent)} sticks out`);
    }
    for (const frame of document.querySelectorAll(".scroll")) {
      const scrolls = getComputedStyle(frame).overflowX !== "visible";
      if (frame.scrollWidth > frame.clientWidth + 1 && !scrolls)
        wrong.push(`${named(frame)} is wider than its place`);
    }
    return wrong;
  },
};
