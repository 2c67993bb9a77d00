// Every five seconds the page is fetched again and its live parts are replaced. What the person does
// in a part stays: typed text, selected text, the keyboard's place, how far a table is scrolled.
// Without this script all else works.
"use strict";
(() => {
  const every = 5000;
  const parser = new DOMParser();

  // Text that was typed, in a field that the fresh part still has.
  const isTyped = (part, next) =>
    [...part.querySelectorAll("input:not([type=hidden]), textarea")].some((field) => {
      const used = field === document.activeElement || field.value !== field.defaultValue;
      return used && next.querySelector(`[id="${CSS.escape(field.id)}"]`);
    });

  const isSelected = (part) => {
    const selection = getSelection();
    return !selection.isCollapsed && selection.containsNode(part, true);
  };

  const isPressed = (part) => part.querySelector("button:active, a:active");

  const put = (part, next) => {
    const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
    const left = part.scrollLeft;
    const fresh = document.importNode(next, true);
    part.replaceWith(fresh);
    fresh.scrollLeft = left;
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  };

  const replace = (text) => {
    const fresh = parser.parseFromString(text, "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(part.id);
      if (!next || next.outerHTML === part.outerHTML) continue;
      if (!isTyped(part, next) && !isSelected(part) && !isPressed(part)) put(part, next);
    }
  };

  const refresh = async () => {
    if (document.hidden || !document.querySelector("[data-live]")) return;
    try {
      const answer = await fetch(location.pathname, {
        credentials: "same-origin",
        redirect: "manual",
        cache: "no-store",
        headers: { "X-Authbridge-Live": "1" },
      });
      if (answer.type === "opaqueredirect") {
        location.assign("/login");
      } else if (answer.ok) {
        replace(await answer.text());
        document.documentElement.classList.remove("stale");
      }
    } catch {
      document.documentElement.classList.add("stale");
    }
  };

  setInterval(refresh, every);
  document.addEventListener("visibilitychange", refresh);
})();
