import "../browser";
import { act, render, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it } from "vitest";
import type { ParticipantState } from "../../src/call/model";
import { VideoGrid } from "../../src/components/VideoGrid";
import type { Layout } from "../../src/components/visible";
import { CallDouble } from "../call_double";
import { callState, participants } from "../call_state";

function show(people: readonly ParticipantState[], options: { speaker?: string; layout?: Layout } = {}) {
  const client = new CallDouble(callState(1));
  const grid = (shown: readonly ParticipantState[], { speaker, layout }: typeof options) => (
    <VideoGrid client={client} participants={shown} activeSpeaker={speaker ?? null} layout={layout ?? "grid"} />
  );
  const { rerender } = render(grid(people, options));
  return {
    client,
    change: (then: readonly ParticipantState[], changed: typeof options = {}) => rerender(grid(then, changed)),
  };
}

function tiles(): HTMLElement[] {
  return screen.getAllByRole("listitem");
}

function tile(id: string, source = "camera"): HTMLElement {
  const found = document.querySelector<HTMLElement>(`[data-participant="${id}"][data-source="${source}"]`);
  if (found === null) throw new Error(`no tile of ${id}`);
  return found;
}

describe("the grid of 50 people", () => {
  it("shows 16 tiles, and only the others of this page are watched", async () => {
    const { client } = show(participants(50));
    expect(tiles()).toHaveLength(16);
    expect([...client.watched]).toEqual(
      participants(16)
        .slice(1)
        .map((one) => one.id),
    );
    await userEvent.click(screen.getByRole("button", { name: "Next page" }));
    expect(screen.getByText("Page 2 of 4")).toBeTruthy();
    expect(client.watched.has("p16")).toBe(true);
    expect(client.watched.has("p1")).toBe(false);
    expect(client.watched.size).toBe(16);
  });

  it("can be paged to the end and back by the keyboard", async () => {
    show(participants(50));
    await userEvent.tab();
    await userEvent.tab();
    for (let page = 0; page < 5; page += 1) await userEvent.keyboard("{Enter}");
    expect(screen.getByText("Page 4 of 4")).toBeTruthy();
    expect(tiles()).toHaveLength(2);
    expect(screen.getByRole("button", { name: "Next page" }).getAttribute("aria-disabled")).toBe("true");
    await userEvent.tab({ shift: true });
    for (let page = 0; page < 5; page += 1) await userEvent.keyboard("{Enter}");
    expect(screen.getByText("Page 1 of 4")).toBeTruthy();
  });

  it("says whom to watch only when that has changed", () => {
    const { client, change } = show(participants(3));
    const first = client.watched;
    change(participants(3).map((one) => ({ ...one, volume: 0.7, speaking: true })));
    expect(client.watched).toBe(first);
  });
});

describe("a tile", () => {
  it("has the name, and marks for muted, speaking and quality", () => {
    show(participants(5), { speaker: "p1" });
    expect(within(tile("p1")).getByText("Bob")).toBeTruthy();
    expect(within(tile("p1")).getByText("Speaking")).toBeTruthy();
    expect(tile("p1").dataset["speaking"]).toBe("true");
    expect(within(tile("p3")).getByRole("img", { name: "Muted" })).toBeTruthy();
    expect(within(tile("p3")).getByRole("img", { name: "Connection: fair" })).toBeTruthy();
    expect(within(tile("p4")).getByText("Camera off")).toBeTruthy();
    expect(tile("p4").dataset["playing"]).toBe("false");
  });

  it("of oneself says so and is mirrored; the others' are not", () => {
    show(participants(2));
    expect(within(tile("p0")).getByText("Ada (you)")).toBeTruthy();
    expect(tile("p0").classList.contains("tile-mirrored")).toBe(true);
    expect(tile("p1").classList.contains("tile-mirrored")).toBe(false);
    expect(within(tile("p0")).queryByRole("img", { name: /Connection/ })).toBeNull();
  });

  it("shows a name as text, whatever is in it", () => {
    show(participants(2).map((one) => ({ ...one, name: "<img src=x onerror=alert(1)>" })));
    expect(document.querySelector("img")).toBeNull();
    expect(within(tile("p1")).getByText("<img src=x onerror=alert(1)>")).toBeTruthy();
  });

  it("leaves when its participant does", () => {
    const { change } = show(participants(3));
    change(participants(2));
    expect(tiles()).toHaveLength(2);
  });

  it("says when its participant is connecting or reconnecting", () => {
    show(participants(3).map((one, at) => ({ ...one, connection: at === 1 ? "connecting" : "reconnecting" })));
    expect(within(tile("p1")).getByText("Connecting…")).toBeTruthy();
    expect(within(tile("p2")).getByText("Reconnecting…")).toBeTruthy();
  });

  it("keeps its video element when it grows to the stage and back", () => {
    const people = participants(6);
    const { change } = show(people);
    const before = tile("p3").querySelector("video");
    change(people, { layout: "speaker", speaker: "p3" });
    expect(tile("p3").classList.contains("tile-stage")).toBe(true);
    expect(tile("p3").querySelector("video")).toBe(before);
    change(people, { layout: "grid", speaker: "p3" });
    expect(tile("p3").querySelector("video")).toBe(before);
  });
});

describe("the stage", () => {
  it("has the last other who spoke, while oneself speaks", () => {
    const people = participants(6);
    const { change } = show(people, { layout: "speaker", speaker: "p4" });
    change(people, { layout: "speaker", speaker: "p0" });
    expect(tile("p4").classList.contains("tile-stage")).toBe(true);
  });

  it("has a shared screen, with the camera of who shares beside it, not mirrored", () => {
    show(participants(3).map((one, at) => ({ ...one, screenEnabled: at === 1 })));
    expect(tile("p1", "screen").classList.contains("tile-stage")).toBe(true);
    expect(within(tile("p1", "screen")).getByText("Screen of Bob")).toBeTruthy();
    expect(tile("p1", "camera")).toBeTruthy();
  });

  it("has one's own screen too, called so", () => {
    show(participants(3).map((one, at) => ({ ...one, screenEnabled: at === 0 })));
    expect(within(tile("p0", "screen")).getByText("Your screen")).toBeTruthy();
    expect(tile("p0", "screen").classList.contains("tile-mirrored")).toBe(false);
  });
});

describe("an active speaker of page 3", () => {
  it("comes to the first page by itself, and the others keep their places", async () => {
    const people = participants(50);
    const { change } = show(people);
    const before = tiles().map((one) => one.dataset["participant"]);
    change(people, { speaker: "p40" });
    expect(tiles().map((one) => one.dataset["participant"])).toEqual(before);
    await act(() => new Promise((resolve) => setTimeout(resolve, 1400)));
    const after = tiles().map((one) => one.dataset["participant"]);
    expect(after).toContain("p40");
    expect(after.filter((id, at) => id !== before[at])).toEqual(["p40"]);
  });
});
