// What is wrong with how a page looks: a list, empty if nothing is. Colours are taken where
// text stands, against the nearest background behind it; the contrast is that of WCAG 2.
// Sent as one line, so each comment has a line of its own.
(() => {
  const faults = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const called = (e) => `${e.tagName}#${e.id}.${e.className}`;
  const shown = (e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) faults.push(`${wide} pixels wide`);
  for (const e of all("main *").filter(shown)) {
    const { left, right, width } = e.getBoundingClientRect();
    if (width > 0 && (left < -1 || right > innerWidth + 1)) faults.push(`${called(e)} is outside`);
  }
  for (const e of all("input, select, textarea")) {
    if (e.labels.length === 0 && !e.ariaLabel) faults.push(`${called(e)} has no label`);
  }
  for (const e of all("button, input:not([type=checkbox]), select, textarea").filter(shown)) {
    if (e.getBoundingClientRect().height < 36) faults.push(`${called(e)} is small`);
    if (e.tagName === "BUTTON" && e.textContent === "") faults.push(`${called(e)} says nothing`);
  }
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = numbers(colour).map((c) =>
      c <= 10.31475 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    const colour = getComputedStyle(e).backgroundColor;
    return (numbers(colour)[3] ?? 1) === 1 ? colour : ground(e.parentElement);
  };
  const texts = all("main, main *").filter((e) => shown(e) && !e.disabled && (e.value ||
    [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim() !== "")));
  if (texts.length < 5) faults.push(`${texts.length} texts`);
  for (const e of texts) {
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (!(contrast >= 4.5)) faults.push(`${called(e)}: contrast ${contrast.toFixed(2)}`);
  }
  return faults;
})()
