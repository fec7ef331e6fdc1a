import { describe, expect, it } from "vitest";
import { STRIP_SIZE, compose, sameIds } from "../../src/components/visible";
import { participants } from "../call_state";

describe("the scene", () => {
  it("of a grid watches exactly the others of its page", () => {
    const people = participants(50);
    const first = compose(people, { layout: "grid", page: 0, speaker: null });
    expect(first.pages).toBe(4);
    expect([...first.watched]).toEqual(people.slice(1, 16).map((one) => one.id));
    const second = compose(people, { layout: "grid", page: 1, speaker: null });
    expect([...second.watched]).toEqual(people.slice(16, 32).map((one) => one.id));
  });

  it("falls back to the last page when the present one is gone", () => {
    const scene = compose(participants(20), { layout: "grid", page: 3, speaker: null });
    expect(scene.page).toBe(1);
    expect(scene.tiles).toHaveLength(4);
  });

  it("of the speaker view has the speaker large and a strip of the others", () => {
    const people = participants(12);
    const scene = compose(people, { layout: "speaker", page: 0, speaker: people[9]?.id ?? null });
    expect(scene.stage?.participantId).toBe(people[9]?.id);
    expect(scene.tiles).toHaveLength(STRIP_SIZE);
    expect(scene.tiles.map((tile) => tile.participantId)).not.toContain(people[9]?.id);
    expect(scene.watched.has(people[9]?.id ?? "")).toBe(true);
    expect(scene.watched.size).toBe(STRIP_SIZE); // five others in the strip and the speaker
  });

  it("of the speaker view never has oneself large while others are there", () => {
    const people = participants(3);
    const scene = compose(people, { layout: "speaker", page: 0, speaker: people[0]?.id ?? null });
    expect(scene.stage?.participantId).toBe(people[1]?.id);
  });

  it("has a shared screen large, and the camera of who shares beside it", () => {
    const people = participants(4).map((one, index) => (index === 2 ? { ...one, screenEnabled: true } : one));
    const scene = compose(people, { layout: "grid", page: 0, speaker: null });
    expect(scene.stage).toMatchObject({ participantId: people[2]?.id, source: "screen" });
    expect(scene.tiles.map((tile) => tile.key)).toContain(`${people[2]?.id}/camera`);
    expect(new Set(scene.tiles.map((tile) => tile.key)).size).toBe(scene.tiles.length);
  });

  it("of one who is alone is the own tile, also in the speaker view", () => {
    const scene = compose(participants(1), { layout: "speaker", page: 0, speaker: null });
    expect(scene.stage).toBeNull();
    expect(scene.tiles).toHaveLength(1);
    expect(scene.watched.size).toBe(0);
  });
});

it("compares sets of ids by their members", () => {
  expect(sameIds(new Set(["a", "b"]), new Set(["b", "a"]))).toBe(true);
  expect(sameIds(new Set(["a", "b"]), new Set(["a", "c"]))).toBe(false);
  expect(sameIds(new Set(["a"]), new Set(["a", "b"]))).toBe(false);
});
