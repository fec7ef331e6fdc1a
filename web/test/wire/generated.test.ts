import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import * as gateway from "../../src/wire/gateway";
import * as mediaServer from "../../src/wire/media_server";

test("the generated types of the wire are those of the schemas", () => {
  execFileSync(process.execPath, ["scripts/wire.mjs", "--check"], { stdio: "pipe" });
}, 30_000); // a process of its own that formats all types: more than the default 5 s on a busy machine

test.each([
  ["gateway", gateway.SHAPES, { ...gateway.EVENTS, ...gateway.ANSWERS }],
  ["media server", mediaServer.SHAPES, { ...mediaServer.EVENTS, ...mediaServer.ANSWERS }],
])("every shape that one of the %s refers to is there", (_name, shapes, roots) => {
  const referred = JSON.stringify([shapes, roots]).match(/"#(\w+)"/g) ?? [];
  const missing = referred.map((name) => name.slice(2, -1)).filter((name) => !(name in shapes));
  expect(missing).toEqual([]);
  expect(referred.length).toBeGreaterThan(20);
});
