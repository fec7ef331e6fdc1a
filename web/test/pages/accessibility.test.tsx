import "../browser";
import { act, render } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import axe from "axe-core";
import { readFileSync, readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { ReactNode } from "react";
import { CallStages } from "../../src/pages/CallStages";
import { CheckPage } from "../../src/pages/CheckPage";
import { EndPage } from "../../src/pages/EndPage";
import { PreJoin } from "../../src/pages/PreJoin";
import { CallDouble } from "../call_double";
import { callState, participants } from "../call_state";

const noop = (): void => undefined;

/** Contrast needs real colours; scripts/pictures.mjs measures it in a browser. */
async function seriousIssues(): Promise<string[]> {
  const { violations } = await axe.run(document.body, { rules: { "color-contrast": { enabled: false } } });
  return violations
    .filter((one) => one.impact === "serious" || one.impact === "critical")
    .map((one) => `${one.id}: ${one.nodes[0]?.html ?? ""}`);
}

function call(change: Parameters<CallDouble["set"]>[0], count = 5): ReactNode {
  return (
    <CallStages client={new CallDouble(callState(count, change))} link="https://x/#a" onBack={noop} onTakeBack={noop} />
  );
}

const PAGES: Readonly<Record<string, () => ReactNode>> = {
  "before the call": () => (
    <PreJoin suggestedName="Ada" ongoing={{ people: 2, startedAt: 0 }} joining={false} refusal={null} onJoin={noop} />
  ),
  "call of five": () => call({ activeSpeaker: "p1" }),
  "call of fifty": () => call({}, 50),
  "shared screen": () =>
    call({ participants: participants(5).map((one, at) => ({ ...one, screenEnabled: at === 2 })) }),
  switching: () => call({ transition: { to: "sfu", since: 0, attempt: 2, failed: null } }),
  "failed switch": () => call({ transition: { to: "sfu", since: 0, attempt: 2, failed: "timeout" } }),
  reconnecting: () => call({ stage: "reconnecting" }),
  replaced: () => call({ replaced: true }),
  failure: () =>
    call({ stage: "failed", failure: { code: "udp-blocked", message: "m", diagnosis: { checks: [], pairs: [] } } }),
  end: () => <EndPage summary={null} onAgain={noop} />,
  check: () => <CheckPage run={() => Promise.reject(new Error("unused"))} />,
};

describe("axe finds no serious issue", () => {
  it.each(Object.keys(PAGES))("on the page: %s", async (name) => {
    render(<>{PAGES[name]?.()}</>);
    await act(() => new Promise((resolve) => setTimeout(resolve, 20)));
    expect(await seriousIssues()).toEqual([]);
  });

  it.each(["stats", "devices"])("with the panel: %s", async (panel) => {
    render(<>{call({})}</>);
    await userEvent.click(document.querySelector(`[data-control=${panel}]`) as HTMLElement);
    expect(await seriousIssues()).toEqual([]);
  });
});

describe("style sheets", () => {
  const folder = `${import.meta.dirname}/../../src/styles`;
  const sheets = readdirSync(folder).map((name) => ({ name, text: readFileSync(`${folder}/${name}`, "utf8") }));

  it("use logical positions alone, so that a page mirrors from right to left", () => {
    const physical =
      /^\s*((?:margin|padding|border|inset|scroll-margin)-(?:left|right|top|bottom)[\w-]*|left|right|top|bottom|width|height|(?:min|max)-(?:width|height)|float|clear)\s*:/;
    const aligned = /text-align\s*:\s*(left|right)/;
    const found = sheets.flatMap(({ name, text }) =>
      text
        .split("\n")
        .filter((line) => !line.includes("@media") && (physical.test(line) || aligned.test(line)))
        .map((line) => `${name}: ${line.trim()}`),
    );
    expect(found).toEqual([]);
  });

  it("fetch nothing from elsewhere", () => {
    for (const { text } of sheets) expect(text).not.toMatch(/url\(|@import/);
  });

  it("stop movement for those who wish so", () => {
    expect(sheets.some(({ text }) => text.includes("prefers-reduced-motion"))).toBe(true);
  });
});
