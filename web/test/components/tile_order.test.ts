import { describe, expect, it } from "vitest";
import { DWELL_MS, EMPTY_ORDER, HOLD_MS, arrange, type Present } from "../../src/components/tile_order";

function people(count: number): Present[] {
  return Array.from({ length: count }, (_, index) => ({ id: `p${index}`, self: index === 0 }));
}

function moved(before: readonly string[], after: readonly string[]): string[] {
  return before.filter((id, index) => after[index] !== id);
}

describe("the order of tiles", () => {
  it("begins with oneself, then follows the order of joining", () => {
    const present = [
      { id: "ada", self: false },
      { id: "me", self: true },
      { id: "bob", self: false },
    ];
    expect(arrange(EMPTY_ORDER, present, null, 0).ids).toEqual(["me", "ada", "bob"]);
  });

  it("puts newcomers last and lets who leaves leave", () => {
    const first = arrange(EMPTY_ORDER, people(3), null, 0);
    const grown = arrange(first, [...people(3), { id: "new", self: false }], null, 1);
    expect(grown.ids).toEqual(["p0", "p1", "p2", "new"]);
    const left = arrange(grown, [...people(2), { id: "new", self: false }], null, 2);
    expect(left.ids).toEqual(["p0", "p1", "new"]);
  });

  it("stays the very same object when nothing has changed", () => {
    const first = arrange(EMPTY_ORDER, people(20), "p3", 0);
    expect(arrange(first, people(20), "p3", 500)).toBe(first);
  });
});

describe("an active speaker of a later page", () => {
  it("comes to the first page after the dwell time, and only two tiles change places", () => {
    const quiet = arrange(EMPTY_ORDER, people(50), null, 0);
    const speaking = arrange(quiet, people(50), "p40", 1000);
    expect(speaking.ids).toEqual(quiet.ids);
    expect(speaking.nextAt).toBe(1000 + DWELL_MS);
    const after = arrange(speaking, people(50), "p40", 1000 + DWELL_MS);
    expect(after.ids.indexOf("p40")).toBeLessThan(16);
    expect(moved(quiet.ids, after.ids)).toHaveLength(2);
    expect(after.ids[0]).toBe("p0");
  });

  it("who only coughs moves nothing", () => {
    let order = arrange(EMPTY_ORDER, people(50), null, 0);
    const quiet = order.ids;
    for (let now = 0; now < 60_000; now += 1000)
      order = arrange(order, people(50), now % 2000 === 0 ? "p40" : "p41", now);
    expect(order.ids).toEqual(quiet);
  });

  it("takes the place of the one who has been silent for the longest time", () => {
    let order = arrange(EMPTY_ORDER, people(18), null, 0);
    let now = 100_000;
    // All of the first page but p7 speak once.
    for (const one of people(16).slice(1)) {
      if (one.id === "p7") continue;
      order = arrange(order, people(18), one.id, now);
      now += 1000;
    }
    order = arrange(order, people(18), "p17", now);
    order = arrange(order, people(18), "p17", now + DWELL_MS);
    expect(order.ids[7]).toBe("p17");
    expect(order.ids[17]).toBe("p7");
  });

  it("does not push out one who has spoken just now", () => {
    let order = arrange(EMPTY_ORDER, people(3), null, 0, 2);
    order = arrange(order, people(3), "p1", 10_000, 2);
    order = arrange(order, people(3), "p2", 12_000, 2);
    order = arrange(order, people(3), "p2", 12_000 + DWELL_MS, 2);
    expect(order.ids).toEqual(["p0", "p1", "p2"]);
    expect(order.nextAt).toBe(12_000 + HOLD_MS);
    order = arrange(order, people(3), "p2", 12_000 + HOLD_MS, 2);
    expect(order.ids).toEqual(["p0", "p2", "p1"]);
  });

  it("two who talk in turn swap in once each, not at every turn", () => {
    let order = arrange(EMPTY_ORDER, people(40), null, 0);
    let changes = 0;
    for (let now = 0; now < 120_000; now += 100) {
      const speaker = Math.floor(now / 3000) % 2 === 0 ? "p30" : "p31";
      const next = arrange(order, people(40), speaker, now);
      if (moved(order.ids, next.ids).length > 0) changes += 1;
      order = next;
    }
    expect(changes).toBe(2);
  });

  it("moves nothing when already on the first page, or unknown, or gone", () => {
    const quiet = arrange(EMPTY_ORDER, people(50), null, 0);
    for (const speaker of ["p3", "p0", "ghost"]) {
      const order = arrange(arrange(quiet, people(50), speaker, 0), people(50), speaker, 60_000);
      expect(order.ids).toEqual(quiet.ids);
    }
  });

  it("forgets when those who left have spoken", () => {
    let order = arrange(EMPTY_ORDER, people(5), "p4", 0);
    order = arrange(order, people(5), "p3", 1000);
    expect(order.spokeAt).toEqual({ p4: 1000 });
    order = arrange(order, people(4), "p3", 2000);
    expect(order.spokeAt).toEqual({});
  });
});
