// Everything works without this script. It tells of saves elsewhere, finds a setting in a long form, and warns before changes are lost.
(() => {
  "use strict";
  const form = document.querySelector(".pr-form");
  let changed = false;
  if (form) {
    form.addEventListener("input", (e) => {
      if (e.target.id !== "find") changed = true;
      const at = e.target.name || "";
      if (!at.startsWith("v:") || e.target.value === "") return;
      for (const other of form.querySelectorAll('[name="n:' + CSS.escape(at.slice(2)) + '"],[name="c:' + CSS.escape(at.slice(2)) + '"]')) other.checked = false;
    });
    form.addEventListener("submit", () => { changed = false; });
    window.addEventListener("beforeunload", (e) => { if (changed) e.preventDefault(); });
  }

  const find = document.getElementById("find");
  if (find) {
    find.parentElement.hidden = false;
    find.addEventListener("keydown", (e) => { if (e.key === "Enter") e.preventDefault(); });
    find.addEventListener("input", () => {
      const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      const fields = [...document.querySelectorAll("#fields [data-pointer]")].filter((x) => x.dataset.pointer !== "").reverse();
      const shown = new Set();
      for (const x of fields) {
        const text = (x.querySelector("label, legend")?.textContent + " " + x.dataset.pointer).toLowerCase();
        const keep = words.every((w) => text.includes(w)) || x.matches("[aria-invalid=true]") || x.querySelector("[aria-invalid=true]") !== null ||
          [...shown].some((y) => x.contains(y));
        if (keep) shown.add(x);
      }
      for (const x of fields) x.hidden = ![...shown].some((y) => y === x || (y.contains(x) && matches(y, words)));
    });
  }
  function matches(x, words) {
    const text = (x.querySelector("label, legend")?.textContent + " " + x.dataset.pointer).toLowerCase();
    return words.every((w) => text.includes(w));
  }

  const alert = document.querySelector(".pr-alert[role=alert]");
  if (alert && form) { alert.tabIndex = -1; alert.focus(); }

  const live = document.getElementById("live");
  const revision = document.querySelector("[data-revision]");
  if (live && live.dataset.id && window.EventSource) {
    const events = new EventSource(live.dataset.root + "api/events");
    events.addEventListener("config", (e) => {
      const change = JSON.parse(e.data);
      if (change.id !== live.dataset.id || !revision || change.revision === revision.dataset.revision) return;
      live.textContent = change.configured ? "Somebody else has saved this config as revision " + change.revision + ". Load the page again to see it." :
        "Somebody else has deleted this config. Load the page again to see it.";
    });
    window.addEventListener("pagehide", () => events.close());
  }
})();
