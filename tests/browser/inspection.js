// Returns sentences about what is wrong with this page.
const wrong = [];
const all = (css) => [...document.querySelectorAll(css)];
const name = (element) => {
  const id = element.id ? `#${element.id}` : "";
  return `${element.tagName.toLowerCase()}${id} ${(element.textContent || "").trim().slice(0, 40)}`;
};

if (all("h1").length !== 1) wrong.push(`${all("h1").length} h1`);
if (all("main").length !== 1) wrong.push(`${all("main").length} main`);
if (!document.documentElement.lang) wrong.push("no language");
if (document.title.length < 5) wrong.push("no title");
const levels = all("h1, h2, h3").map((heading) => Number(heading.tagName[1]));
levels.forEach((level, at) => {
  if (level > (levels[at - 1] ?? 0) + 1) wrong.push(`heading ${level} after ${levels[at - 1]}`);
});
const ids = all("[id]").map((element) => element.id);
ids.filter((id, at) => ids.indexOf(id) !== at).forEach((id) => wrong.push(`two #${id}`));
for (const field of all("input:not([type=hidden]), textarea, select")) {
  if (field.checkVisibility() && !field.labels.length && !field.ariaLabel) wrong.push(`no label: ${name(field)}`);
}
for (const control of all("a, button")) {
  if (!(control.ariaLabel || control.textContent.trim())) wrong.push(`no name: ${name(control)}`);
}
for (const section of all("section")) {
  const label = section.getAttribute("aria-labelledby");
  if (label && !document.getElementById(label)) wrong.push(`no heading #${label}`);
}
for (const cell of all("th:not([scope])")) wrong.push(`no scope: ${name(cell)}`);
for (const link of all("a[target=_blank]")) {
  if (!link.relList.contains("noopener")) wrong.push(`opener: ${name(link)}`);
}
for (const time of all("time")) {
  if (!/^\d{4}-.* UTC$/.test(time.title)) wrong.push(`no exact time: ${name(time)}`);
}
const over = document.documentElement.scrollWidth - document.documentElement.clientWidth;
if (over > 0) {
  const widest = all("body *").filter((e) => e.getBoundingClientRect().right > innerWidth + 1);
  wrong.push(`${over} px too wide: ${widest.slice(0, 3).map(name).join(" | ")}`);
}

// Contrast: WCAG 2.2, 1.4.3.
const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
const luminance = (rgb) => {
  const [r, g, b] = rgb.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const [r, g, b, alpha = 1] = numbers(getComputedStyle(at).backgroundColor);
    if (alpha === 1) return [r, g, b];
  }
  return [255, 255, 255];
};
for (const element of all("body *")) {
  const text = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  if (!text || !element.checkVisibility() || element.closest("svg")) continue;
  const [a, b] = [numbers(getComputedStyle(element).color).slice(0, 3), behind(element)]
    .map(luminance).sort((x, y) => y - x);
  const contrast = (a + 0.05) / (b + 0.05);
  if (contrast < 4.5) wrong.push(`contrast ${contrast.toFixed(1)}: ${name(element)}`);
}
return [...new Set(wrong)].slice(0, 12);
