import { describe, expect, it } from "vitest";
import { PAGE_SIZE, clampPage, layOut, pageCount, pageOf, squareSide } from "../../src/components/grid_layout";

const DESKTOP = { width: 1600, height: 900 };
const PHONE = { width: 390, height: 640 };

describe("the grid", () => {
  it("is 1×1, 2×2, 3×3, 4×4 for up to 1, 4, 9, 16 people", () => {
    const sides = [1, 2, 4, 5, 9, 10, 16].map((count) => squareSide(count));
    expect(sides).toEqual([1, 2, 2, 3, 3, 4, 4]);
  });

  it.each([
    [1, 1, 1],
    [2, 2, 1],
    [3, 2, 2],
    [4, 2, 2],
    [6, 3, 2],
    [9, 3, 3],
    [12, 4, 3],
    [16, 4, 4],
  ])("of %i people on a desktop has %i columns and %i rows", (count, columns, rows) => {
    expect(layOut(count, DESKTOP, 8)).toMatchObject({ columns, rows });
  });

  it("of two people on a phone held upright puts one above the other", () => {
    expect(layOut(2, PHONE, 8)).toMatchObject({ columns: 1, rows: 2 });
  });

  it("never leaves the space, for any count and proportion", () => {
    for (const space of [
      DESKTOP,
      PHONE,
      { width: 2560, height: 1300 },
      { width: 844, height: 300 },
      { width: 900, height: 900 },
    ]) {
      for (let count = 1; count <= PAGE_SIZE; count += 1) {
        const { columns, rows, tileWidth, tileHeight } = layOut(count, space, 8);
        expect(columns * rows).toBeGreaterThanOrEqual(count);
        expect(columns * tileWidth + (columns - 1) * 8).toBeLessThanOrEqual(space.width);
        expect(rows * tileHeight + (rows - 1) * 8).toBeLessThanOrEqual(space.height);
        expect(tileWidth / tileHeight).toBeLessThan(1.85);
        expect(tileWidth / tileHeight).toBeGreaterThan(0.75);
      }
    }
  });

  it("survives a space that has not been measured yet", () => {
    expect(layOut(5, { width: 0, height: 0 }, 8)).toMatchObject({ tileWidth: 0, tileHeight: 0 });
  });
});

describe("pages", () => {
  it("hold 16 each", () => {
    expect([0, 1, 16, 17, 32, 33, 50].map((count) => pageCount(count))).toEqual([1, 1, 1, 2, 2, 3, 4]);
  });

  it("cover everybody once", () => {
    const all = Array.from({ length: 50 }, (_, index) => index);
    expect([0, 1, 2, 3].flatMap((page) => [...pageOf(all, page)])).toEqual(all);
    expect(pageOf(all, 3)).toEqual([48, 49]);
  });

  it("that are gone show the last one there is", () => {
    expect(clampPage(3, 20)).toBe(1);
    expect(clampPage(-2, 20)).toBe(0);
    expect(pageOf([1, 2, 3], 7)).toEqual([1, 2, 3]);
  });
});
