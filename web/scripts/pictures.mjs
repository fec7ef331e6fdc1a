// Pictures of the pages in chosen states, by headless Chromium: `node scripts/pictures.mjs [--png] OUT [NAME…]`. Small WebP, or PNG as seen.
// Serves test/gallery by Vite; no other server is needed. Says what axe finds serious on each, colours included, and exits 1 then.
import { mkdirSync, writeFileSync } from "node:fs";
import { chromium } from "playwright-core";
import { createServer } from "vite";

const WIDE = { width: 1280, height: 720 };
const PHONE = { width: 390, height: 844 };
// name → [query, size, what to do before the picture]
const PICTURES = {
  prejoin: ["scene=prejoin", WIDE],
  alone: ["scene=alone", WIDE],
  two: ["scene=two", WIDE],
  three: ["scene=three", WIDE],
  five: ["scene=five", WIDE],
  nine: ["scene=nine", WIDE],
  sixteen: ["scene=sixteen", WIDE],
  fifty: ["scene=fifty", WIDE, async (page) => page.getByRole("button", { name: "Next page" }).click()],
  speaker: ["scene=speaker", WIDE],
  share: ["scene=share", WIDE],
  switching: ["scene=switching", WIDE],
  "switch-failed": ["scene=switchFailed", WIDE],
  reconnecting: ["scene=reconnecting", WIDE],
  failure: ["scene=failure", { width: 1280, height: 1100 }],
  ended: ["scene=ended", WIDE],
  replaced: ["scene=replaced", WIDE],
  check: [
    "scene=check",
    { width: 1280, height: 1200 },
    async (page) => page.getByRole("button", { name: "Start the check" }).click(),
  ],
  phone: ["scene=five", PHONE],
  "phone-prejoin": ["scene=prejoin", PHONE],
  "phone-stats": ["scene=three", PHONE, async (page) => openStats(page, 3)],
  "phone-wide": ["scene=three", { width: 844, height: 390 }],
  dark: ["scene=nine&theme=dark", WIDE],
  "dark-prejoin": ["scene=prejoin&theme=dark", WIDE],
  stats: ["scene=three", WIDE, async (page) => openStats(page, 20)],
  devices: ["scene=three&lang=fr", WIDE, async (page) => page.locator("[data-control=devices]").click()],
  rtl: ["scene=speaker&dir=rtl", WIDE],
  large: ["scene=nine", { width: 2560, height: 1440 }],
};

async function openStats(page, seconds) {
  await page.locator("[data-control=stats]").click();
  await page.waitForTimeout(seconds * 1000);
}

async function seriousIssues(page) {
  await page.addScriptTag({ path: import.meta.dirname + "/../node_modules/axe-core/axe.min.js" });
  return page.evaluate(async () => {
    const { violations } = await globalThis.axe.run();
    const serious = violations.filter((one) => one.impact === "serious" || one.impact === "critical");
    return serious.flatMap((one) =>
      one.nodes.map((node) => `${one.id}: ${node.failureSummary} ${node.html.slice(0, 160)}`),
    );
  });
}

/** The picture as WebP, 960 pixels wide at most, of 60 kB at most. */
async function small(browser, picture) {
  const page = await browser.newPage();
  const encoded = await page.evaluate(async (base64) => {
    const image = new Image();
    image.src = `data:image/png;base64,${base64}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    const scale = Math.min(1, 960 / image.width);
    canvas.width = Math.round(image.width * scale);
    canvas.height = Math.round(image.height * scale);
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    for (let quality = 0.85; ; quality -= 0.1) {
      const data = canvas.toDataURL("image/webp", quality).split(",")[1];
      if (data.length * 0.75 <= 60_000 || quality < 0.3) return data;
    }
  }, picture.toString("base64"));
  await page.close();
  return Buffer.from(encoded, "base64");
}

const given = process.argv.slice(2);
const png = given[0] === "--png";
const [out = "pictures", ...wanted] = png ? given.slice(1) : given;
mkdirSync(out, { recursive: true });
const server = await createServer({
  root: import.meta.dirname + "/..",
  server: { port: 0, host: "127.0.0.1" },
  logLevel: "warn",
});
await server.listen();
const address = server.resolvedUrls.local[0];
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--hide-scrollbars"],
});
try {
  for (const [name, [query, viewport, prepare]] of Object.entries(PICTURES)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    const page = await browser.newPage({ viewport });
    page.on("pageerror", (error) => console.log(`${name}: ${error.message}`));
    page.on("console", (line) => line.type() === "error" && console.log(`${name}: ${line.text()}`));
    await page.goto(`${address}test/gallery/index.html?${query}`);
    await page.locator("main").waitFor();
    if (prepare) await prepare(page);
    await page.waitForTimeout(1500);
    const picture = await page.screenshot();
    if (png) writeFileSync(`${out}/${name}.png`, picture);
    else writeFileSync(`${out}/${name}.webp`, await small(browser, picture));
    for (const issue of await seriousIssues(page)) {
      console.log(`${name}: ${issue}`);
      process.exitCode = 1;
    }
    await page.close();
  }
} finally {
  await browser.close();
  await server.close();
}
