/**
 * Order of the tiles: who is on which page.
 *
 * Pure; time is an argument. A speaker from a later page changes places with one tile of the first page, so that all others stay where they are.
 */

import { PAGE_SIZE } from "./grid_layout";

/** How long one must be the active speaker before the tile moves: a cough moves nothing. */
export const DWELL_MS = 1200;
/** How long a tile that was brought to the first page stays there at least. */
export const HOLD_MS = 8000;

export interface TileOrder {
  /** Everybody, in the order of the tiles. */
  readonly ids: readonly string[];
  readonly speaker: string | null;
  /** Since when `speaker` is the active speaker. */
  readonly speakerSince: number;
  /** When each one was last the active speaker, by id. */
  readonly spokeAt: Readonly<Record<string, number>>;
  /** When to arrange anew although nothing else has changed; null when there is nothing to wait for. */
  readonly nextAt: number | null;
}

export const EMPTY_ORDER: TileOrder = { ids: [], speaker: null, speakerSince: 0, spokeAt: {}, nextAt: null };

export interface Present {
  readonly id: string;
  readonly self: boolean;
}

/** Bring the order up to date with who is there and who speaks. Returns `before` itself when nothing has changed. */
export function arrange(
  before: TileOrder,
  present: readonly Present[],
  activeSpeaker: string | null,
  now: number,
  pageSize: number = PAGE_SIZE,
): TileOrder {
  const own = present.find((one) => one.self)?.id ?? null;
  const speaker = present.some((one) => one.id === activeSpeaker) ? activeSpeaker : null;
  const speakerSince = speaker === before.speaker ? before.speakerSince : now;
  const spokeAt = noteSpeaker(before, speaker, present, now);
  const ids = membersInOrder(before.ids, present, own);
  const promotion = promote(ids, own, { speaker, speakerSince, spokeAt }, now, pageSize);
  const after: TileOrder = { ids: promotion.ids, speaker, speakerSince, spokeAt, nextAt: promotion.nextAt };
  return same(before, after) ? before : after;
}

/** Those who stay keep their places, newcomers come last; one's own tile is the first. */
function membersInOrder(before: readonly string[], present: readonly Present[], own: string | null): readonly string[] {
  const here = new Set(present.map((one) => one.id));
  const known = new Set(before);
  const stayed = before.filter((id) => here.has(id) && id !== own);
  const came = present.filter((one) => !known.has(one.id) && one.id !== own).map((one) => one.id);
  return own === null ? [...stayed, ...came] : [own, ...stayed, ...came];
}

function noteSpeaker(
  before: TileOrder,
  speaker: string | null,
  present: readonly Present[],
  now: number,
): Readonly<Record<string, number>> {
  // The one who has just fallen silent spoke until now; the present one is noted when another takes over.
  const ended = before.speaker !== null && before.speaker !== speaker ? before.speaker : null;
  const here = new Set(present.map((one) => one.id));
  const kept = Object.entries(before.spokeAt).filter(([id]) => here.has(id));
  if (ended === null && kept.length === Object.keys(before.spokeAt).length) return before.spokeAt;
  const noted = Object.fromEntries(kept);
  if (ended !== null && here.has(ended)) noted[ended] = now;
  return noted;
}

interface Speaking {
  readonly speaker: string | null;
  readonly speakerSince: number;
  readonly spokeAt: Readonly<Record<string, number>>;
}

function promote(
  ids: readonly string[],
  own: string | null,
  { speaker, speakerSince, spokeAt }: Speaking,
  now: number,
  pageSize: number,
): { ids: readonly string[]; nextAt: number | null } {
  const at = speaker === null ? -1 : ids.indexOf(speaker);
  if (speaker === null || at < pageSize) return { ids, nextAt: null };
  if (now < speakerSince + DWELL_MS) return { ids, nextAt: speakerSince + DWELL_MS };
  const first = ids.slice(0, pageSize).filter((id) => id !== own);
  // The longest silent gives way; among those who never spoke the last tile, which is the least looked at.
  let quietest: string | undefined;
  for (const id of first) {
    if (quietest === undefined || (spokeAt[id] ?? 0) <= (spokeAt[quietest] ?? 0)) quietest = id;
  }
  if (quietest === undefined) return { ids, nextAt: null };
  const freeAt = (spokeAt[quietest] ?? 0) + HOLD_MS;
  if (spokeAt[quietest] !== undefined && now < freeAt) return { ids, nextAt: freeAt };
  const swapped = ids.map((id) => (id === speaker ? quietest : id === quietest ? speaker : id));
  return { ids: swapped, nextAt: null };
}

function same(one: TileOrder, other: TileOrder): boolean {
  return (
    one.speaker === other.speaker &&
    one.speakerSince === other.speakerSince &&
    one.nextAt === other.nextAt &&
    one.spokeAt === other.spokeAt &&
    one.ids.length === other.ids.length &&
    one.ids.every((id, index) => id === other.ids[index])
  );
}
