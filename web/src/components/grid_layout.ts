/**
 * Shape of the grid: how many columns and rows, and how large a tile is.
 *
 * Pure; which tiles go where is the matter of tile_order.ts.
 */

/** Tiles on one page; a call of more people has several pages. */
export const PAGE_SIZE = 16;

/** Video is 16:9; a tile may be cropped towards a square, further on a stage that is higher than wide. */
const WIDEST = 16 / 9;
const NARROWEST_LANDSCAPE = 6 / 5;
const NARROWEST_PORTRAIT = 4 / 5;
/** The square grid is kept as long as another one is not better by more than this. */
const SQUARE_PREFERENCE = 1.12;

export interface Space {
  readonly width: number;
  readonly height: number;
}

export interface GridShape {
  readonly columns: number;
  readonly rows: number;
  readonly tileWidth: number;
  readonly tileHeight: number;
}

/** Side of the square grid that holds `count` tiles: 1, 2, 3 or 4. */
export function squareSide(count: number): number {
  return Math.min(4, Math.max(1, Math.ceil(Math.sqrt(count))));
}

/** Number of pages that `count` tiles need, at least one. */
export function pageCount(count: number, size: number = PAGE_SIZE): number {
  return Math.max(1, Math.ceil(count / size));
}

/** The page nearest to `page` that exists. */
export function clampPage(page: number, count: number, size: number = PAGE_SIZE): number {
  return Math.min(Math.max(0, Math.trunc(page)), pageCount(count, size) - 1);
}

/** The members of one page. */
export function pageOf<T>(all: readonly T[], page: number, size: number = PAGE_SIZE): readonly T[] {
  const start = clampPage(page, all.length, size) * size;
  return all.slice(start, start + size);
}

/**
 * Choose columns and rows for `count` tiles, so that the tiles cover as much of the space as they can.
 *
 * A full square (1, 4, 9, 16) on a stage of usual proportions gets its square; a phone held upright gets more rows.
 */
export function layOut(count: number, space: Space, gap: number): GridShape {
  const tiles = Math.max(1, count);
  const side = squareSide(tiles);
  let best = shape(side, Math.ceil(tiles / side), space, gap);
  let bestArea = area(best) * SQUARE_PREFERENCE;
  for (let columns = 1; columns <= tiles; columns += 1) {
    const other = shape(columns, Math.ceil(tiles / columns), space, gap);
    if (area(other) > bestArea) {
      best = other;
      bestArea = area(other);
    }
  }
  return best;
}

function area(grid: GridShape): number {
  return grid.tileWidth * grid.tileHeight;
}

function shape(columns: number, rows: number, space: Space, gap: number): GridShape {
  const cellWidth = Math.max(0, (space.width - gap * (columns - 1)) / columns);
  const cellHeight = Math.max(0, (space.height - gap * (rows - 1)) / rows);
  const narrowest = space.width < space.height ? NARROWEST_PORTRAIT : NARROWEST_LANDSCAPE;
  return {
    columns,
    rows,
    tileWidth: Math.floor(Math.min(cellWidth, cellHeight * WIDEST)),
    tileHeight: Math.floor(Math.min(cellHeight, cellWidth / narrowest)),
  };
}
