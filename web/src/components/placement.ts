/**
 * Where each tile lies on the scene, in CSS pixels from the start corner.
 *
 * Pure. All tiles are children of one list and placed by numbers, so that a tile that grows to the stage keeps its `<video>` element.
 */

import { layOut, type Space } from "./grid_layout";

export interface Rect {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface Placement {
  readonly stage: Rect | null;
  readonly tiles: readonly Rect[];
}

/** Below this ratio of width to height the strip lies under the stage, not beside it. */
const UPRIGHT = 1.1;
const STRIP_SHARE = 0.2;
const STRIP_MIN = 96;
const STRIP_MAX = 300;

export function placeTiles(hasStage: boolean, count: number, space: Space, gap: number): Placement {
  if (!hasStage) return { stage: null, tiles: grid(count, space, gap, { x: 0, y: 0 }) };
  if (count === 0) return { stage: { x: 0, y: 0, ...space }, tiles: [] };
  return space.width < space.height * UPRIGHT ? stripBelow(count, space, gap) : stripBeside(count, space, gap);
}

function stripBeside(count: number, space: Space, gap: number): Placement {
  const strip = clamp(space.width * STRIP_SHARE);
  const stage = { x: 0, y: 0, width: Math.max(0, space.width - strip - gap), height: space.height };
  const height = Math.min(strip * (9 / 16), (space.height - gap * (count - 1)) / count);
  const used = height * count + gap * (count - 1);
  const top = Math.max(0, (space.height - used) / 2);
  const tiles = indices(count).map((index) => ({
    x: space.width - strip,
    y: top + index * (height + gap),
    width: strip,
    height: Math.max(0, height),
  }));
  return { stage, tiles };
}

function stripBelow(count: number, space: Space, gap: number): Placement {
  const rows = count > 3 ? 2 : 1;
  const columns = Math.ceil(count / rows);
  const width = Math.min((space.width - gap * (columns - 1)) / columns, STRIP_MAX);
  const height = width * (3 / 4);
  const stageHeight = Math.max(0, space.height - rows * (height + gap));
  const stage = { x: 0, y: 0, width: space.width, height: stageHeight };
  const tiles = indices(count).map((index) => {
    const row = Math.floor(index / columns);
    const inRow = Math.min(columns, count - row * columns);
    const start = (space.width - inRow * width - (inRow - 1) * gap) / 2;
    return {
      x: start + (index % columns) * (width + gap),
      y: stageHeight + gap + row * (height + gap),
      width,
      height,
    };
  });
  return { stage, tiles };
}

/** A grid in the middle of the space; a last row that is not full is in the middle as well. */
function grid(count: number, space: Space, gap: number, origin: { x: number; y: number }): readonly Rect[] {
  const { columns, rows, tileWidth, tileHeight } = layOut(count, space, gap);
  const top = origin.y + (space.height - rows * tileHeight - (rows - 1) * gap) / 2;
  return indices(count).map((index) => {
    const row = Math.floor(index / columns);
    const inRow = Math.min(columns, count - row * columns);
    const start = origin.x + (space.width - inRow * tileWidth - (inRow - 1) * gap) / 2;
    return {
      x: Math.round(start + (index % columns) * (tileWidth + gap)),
      y: Math.round(top + row * (tileHeight + gap)),
      width: tileWidth,
      height: tileHeight,
    };
  });
}

function clamp(width: number): number {
  return Math.min(STRIP_MAX, Math.max(STRIP_MIN, width));
}

function indices(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index);
}
