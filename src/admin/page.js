// Every five seconds the page is fetched again and its live parts are replaced. A part in which the
// person is typing or stands with the keyboard stays. Without this script all else works.
"use strict";
(() => {
  const every = 5000;
  const parser = new DOMParser();

  const replace = (text) => {
    const fresh = parser.parseFromString(text, "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(part.id);
      const busy = part.contains(document.activeElement) || part.matches(":hover form button");
      if (next && !busy && next.outerHTML !== part.outerHTML) {
        part.replaceWith(document.importNode(next, true));
      }
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
