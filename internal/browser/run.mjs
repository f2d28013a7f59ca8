// Browser tests of registry/settings: node run.mjs, with what to visit in the environment variable PLAN. Each line that it writes is the
// result of one check, as JSON. The Go test in registry/settings runs it; playwright-core drives the chromium that is installed, so nothing
// is downloaded but the two packages, and it has contexts without scripts, colour schemes and every response; axe-core judges the pages.
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const plan = JSON.parse(process.env.PLAN);
const axe = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const report = (name, message = "") => console.log(JSON.stringify({ name, message: String(message) }));
const browser = await chromium.launch({
  executablePath: plan.chromium,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

const seen = []; // every answer, with its address, headers and body
const complaints = [];
const reading = [];
async function context(options = {}) {
  const c = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  c.on("response", (r) => {
    if (r.url().endsWith("/api/events")) return;
    reading.push((async () => {
      const body = await r.text().catch(() => "");
      seen.push({ url: r.url(), text: r.url() + "\n" + JSON.stringify(await r.allHeaders().catch(() => ({}))) + "\n" + body });
    })());
  });
  c.on("console", (m) => { if (["error", "warning"].includes(m.type()) && !/status of (409|422)/.test(m.text())) complaints.push(m.text() + " at " + m.page()?.url()); });
  c.on("weberror", (e) => complaints.push(String(e.error())));
  return c;
}
async function check(name, f) {
  try { await f(); report(name); } catch (e) { report(name, (e.stack ?? e).toString().split("\n").slice(0, 4).join(" | ")); }
}
const assert = (ok, message) => { if (!ok) throw new Error(message); };
const field = (page, pointer) => page.locator(`[name=${JSON.stringify("v:" + pointer)}]`);
const save = (page) => page.locator("[data-save]");

// open the pages that every look is taken at
const views = {
  list: async (p, at) => p.goto(at),
  form: async (p, at) => p.goto(at + "plugins/c_p/"),
  refused: async (p, at) => { await p.goto(at + "plugins/c_p/"); await field(p, "/count").fill("many"); await field(p, "/key").fill(plan.typed); await save(p).click(); await p.locator("[role=alert]").waitFor(); },
  conflict: async (p, at) => {
    await p.goto(at + "plugins/c_two/");
    await field(p, "/note").fill("mine " + Math.random());
    await p.request.patch(at + "api/plugins/c_two/config", { data: JSON.stringify({ note: "theirs " + Math.random() }), headers: { "Content-Type": "application/merge-patch+json", "If-Match": "*" } });
    await save(p).click();
    await p.locator("[data-theirs]").waitFor();
  },
  json: async (p, at) => p.goto(at + "plugins/c_p/json"),
  history: async (p, at) => p.goto(at + "plugins/c_p/history"),
  instances: async (p, at) => p.goto(at + "plugins/c_p/instances"),
  compare: async (p, at) => p.goto(at + "compare"),
  status: async (p, at) => p.goto(at + "status"),
  missing: async (p, at) => p.goto(at + "plugins/c_none/"),
};

for (const colorScheme of ["light", "dark"]) {
  const c = await context({ colorScheme });
  const p = await c.newPage();
  for (const [name, open] of Object.entries(views)) {
    await check(`axe finds nothing on ${name}, ${colorScheme}`, async () => {
      await open(p, plan.base);
      await p.evaluate(axe); // the policy is for the page, not for the debugger
      const found = await p.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
      assert(found.violations.length === 0, JSON.stringify(found.violations.map((v) => [v.id, v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + " " + n.failureSummary)])));
    });
  }
  await c.close();
}

{
  const c = await context({ viewport: { width: 360, height: 640 } });
  const p = await c.newPage();
  for (const [name, open] of Object.entries(views)) {
    await check(`no sideways scroll at 360 px on ${name}`, async () => {
      await open(p, plan.base);
      const over = await p.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert(over <= 0, over + " px too wide");
    });
  }
  await check("focus is visible, and nothing covers it", async () => {
    await p.goto(plan.base + "plugins/c_p/");
    let stops = 0;
    for (let i = 0; i < 150; i++) {
      await p.keyboard.press("Tab");
      const at = await p.evaluate(() => {
        const e = document.activeElement;
        if (!e || e === document.body) return null;
        const r = e.getBoundingClientRect(), s = getComputedStyle(e), bar = document.querySelector(".pr-save").getBoundingClientRect();
        return { name: e.outerHTML.slice(0, 100), outline: s.outlineStyle, inBar: e.closest(".pr-save") !== null, bottom: r.bottom, top: r.top, bar: bar.top, below: bar.bottom, height: innerHeight, tall: r.height > 200, text: e.tagName === "TEXTAREA" };
      });
      if (!at) break;
      stops++;
      assert(at.outline !== "none", "no outline on " + at.name);
      // of a text of several lines the browser shows the line with the caret
      // what comes after the form is below the bar, which ends with the form
      assert(at.inBar || at.tall || at.bottom <= at.bar + 1 || at.top >= at.below - 1 || at.text && at.top + 60 <= at.bar, "the save bar covers " + JSON.stringify(at));
      assert(at.top >= -1 || at.tall, "outside of the window: " + JSON.stringify(at));
    }
    assert(stops > 30, stops + " stops");
  });
  await c.close();
}

{
  const c = await context();
  const p = await c.newPage();
  await check("a form is filled in and saved by keyboard alone", async () => {
    await p.goto(plan.base);
    await p.keyboard.press("Tab");
    assert(await p.evaluate(() => document.activeElement.textContent.startsWith("Skip")), "the first stop is no skip link");
    await p.keyboard.press("Enter");
    for (let i = 0; i < 30 && !(await p.evaluate(() => document.activeElement.closest("[data-plugin=c_p]") !== null)); i++) await p.keyboard.press("Tab");
    await p.keyboard.press("Enter");
    await p.waitForURL("**/plugins/c_p/");
    for (let i = 0; i < 60 && !(await p.evaluate(() => document.activeElement.name === "v:/note")); i++) await p.keyboard.press("Tab");
    await p.keyboard.press("ControlOrMeta+a");
    await p.keyboard.type("by keyboard");
    await p.keyboard.press("Enter");
    await p.waitForURL("**/?saved=*");
    assert((await p.locator("[role=status]").first().textContent()).startsWith("Saved as revision"), "not told that it is saved");
    assert(await field(p, "/note").inputValue() === "by keyboard", "not saved");
  });
  await check("a list is edited by keyboard", async () => {
    await p.goto(plan.base + "plugins/c_p/");
    await p.getByRole("button", { name: "Add to tags", exact: true }).focus();
    await p.keyboard.press("Enter");
    await p.getByLabel("tags 3", { exact: true }).fill("third");
    await p.getByRole("button", { name: "Move tags 3 up", exact: true }).press("Enter");
    assert(await p.getByLabel("tags 2", { exact: true }).inputValue() === "third", "not moved");
    await p.getByRole("button", { name: "Remove tags 2", exact: true }).press("Enter");
    await p.getByRole("button", { name: "Save", exact: true }).press("Enter");
    await p.waitForURL("**/?saved=*");
  });
  await check("saves elsewhere are told", async () => {
    await p.goto(plan.base + "plugins/c_two/");
    await p.waitForResponse((r) => r.url().endsWith("/api/events"), { timeout: 5000 }).catch(() => {});
    for (let i = 0; i < 20 && await p.locator("#live").textContent() === ""; i++) {
      await p.request.patch(plan.base + "api/plugins/c_two/config", { data: JSON.stringify({ note: "n" + i }), headers: { "Content-Type": "application/merge-patch+json", "If-Match": "*" } });
      await p.locator("#live:not(:empty)").waitFor({ timeout: 500 }).catch(() => {});
    }
    assert(/revision/.test(await p.locator("#live").textContent()), "nothing was said");
  });
  await check("a setting is found, and what has an error stays", async () => {
    await p.goto(plan.base + "plugins/c_big/");
    await field(p, "/setting7").fill("x");
    await save(p).click();
    await p.locator("[role=alert]").waitFor();
    await p.getByLabel("Find a setting").fill("setting 42");
    assert(await p.locator("[data-pointer='/setting42']").isVisible(), "not found");
    assert(!(await p.locator("[data-pointer='/setting41']").isVisible()), "the others are there");
    assert(await p.locator("[data-pointer='/setting7']").isVisible(), "the error is hidden");
  });
  await check("odd configs come back as they were", async () => {
    for (const id of plan.odd) {
      await p.goto(plan.base + "plugins/" + id + "/");
      await save(p).click();
      await p.waitForURL("**/?saved=*");
    }
  });
  await c.close();
}

{
  const c = await context({ javaScriptEnabled: false, colorScheme: "dark" });
  const p = await c.newPage();
  for (const [name, at] of [["the mount", plan.base], ["a proxy that changes the prefix", plan.proxy]]) {
    await check(`without scripts, through ${name}`, async () => {
      await p.goto(at);
      await p.locator("[data-plugin=c_p] a").click();
      await p.getByRole("button", { name: "Add to servers", exact: true }).click();
      const n = await p.locator("[data-pointer='/servers'] > .pr-items > fieldset").count();
      await field(p, `/servers/${n - 1}/host`).fill("h" + n);
      await field(p, `/servers/${n - 1}/token`).fill(plan.typed);
      await field(p, "/count").fill("wrong");
      await save(p).click();
      await field(p, "/count").fill("");
      await field(p, `/servers/${n - 1}/port`).fill("80");
      await save(p).click();
      assert(p.url().startsWith(at + "plugins/c_p/?saved="), p.url());
      await p.locator("nav[aria-label=Views]").getByText("JSON").click();
      assert(JSON.parse(await p.locator("textarea[data-json]").inputValue()).servers.length === n, "not saved");
      await p.locator("nav[aria-label=Views]").getByText("History").click();
      await p.getByRole("button", { name: /^Roll back to revision/ }).first().click();
      assert(p.url().includes("/history?saved="), p.url());
      await p.locator("nav[aria-label=Views]").getByText("Form").click();
      assert(p.url() === at + "plugins/c_p/", p.url());
      const style = await p.evaluate(() => getComputedStyle(document.querySelector("h1")).fontSize).catch(() => "28px");
      assert(style === "28px", "no stylesheet: " + style);
    });
  }
  await c.close();
}

await check("the pages stay within their policy and complain of nothing", async () => {
  const own = complaints.filter((c) => !/status of 40[0-9]/.test(c));
  assert(own.length === 0, own.slice(0, 5).join("; "));
});
await check("no byte that was sent shows a secret", async () => {
  await Promise.all(reading);
  assert(seen.length > 100, "only " + seen.length + " answers were seen");
  for (const { url, text } of seen) for (const secret of [...plan.secrets, plan.typed, "$secret"]) assert(!text.includes(secret), secret + " is in " + url);
});
if (plan.gallery) {
  await check("the gallery is written", async () => {
    for (const [name, path, width, colorScheme] of plan.gallery) {
      const c = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
      const p = await c.newPage();
      await p.goto(plan.pictures + path);
      await p.screenshot({ path: name });
      await c.close();
    }
  });
}
await browser.close();
