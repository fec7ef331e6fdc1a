/**
 * What is on screen: which tiles in which place, and whose video the server has to send.
 *
 * Pure; the grid draws it, the call page hands `watched` to the client.
 */

import type { ParticipantState } from "../call/model";
import { PAGE_SIZE, clampPage, pageCount, pageOf } from "./grid_layout";

export type Layout = "grid" | "speaker";

/** One rectangle with video: somebody's camera or somebody's screen. */
export interface Tile {
  readonly key: string;
  readonly participantId: string;
  readonly source: "camera" | "screen";
}

export interface Scene {
  /** The large tile of the speaker view or of a shared screen. */
  readonly stage: Tile | null;
  /** The grid, or the strip beside the stage. */
  readonly tiles: readonly Tile[];
  readonly page: number;
  readonly pages: number;
  /** Others whose video is on screen. */
  readonly watched: ReadonlySet<string>;
}

/** Tiles of the strip beside a large tile. */
export const STRIP_SIZE = 6;

export function tileOf(participantId: string, source: Tile["source"]): Tile {
  return { key: `${participantId}/${source}`, participantId, source };
}

export interface SceneWish {
  readonly layout: Layout;
  readonly page: number;
  /** Who is large in the speaker view: the active speaker, or the last one who was. */
  readonly speaker: string | null;
}

/** Compose the scene from the participants in the order of their tiles. */
export function compose(ordered: readonly ParticipantState[], wish: SceneWish): Scene {
  const stage = chooseStage(ordered, wish);
  const cameras = ordered.map((one) => tileOf(one.id, "camera"));
  const screens = ordered.filter((one) => one.screenEnabled).map((one) => tileOf(one.id, "screen"));
  const all = [...screens, ...cameras].filter((tile) => tile.key !== stage?.key);
  const size = stage === null ? PAGE_SIZE : STRIP_SIZE;
  const page = clampPage(wish.page, all.length, size);
  const tiles = pageOf(all, page, size);
  const own = new Set(ordered.filter((one) => one.self).map((one) => one.id));
  const shown = stage === null ? tiles : [stage, ...tiles];
  const watched = new Set(shown.map((tile) => tile.participantId).filter((id) => !own.has(id)));
  return { stage, tiles, page, pages: pageCount(all.length, size), watched };
}

/** A shared screen of another is always large; else the speaker if the layout says so. */
function chooseStage(ordered: readonly ParticipantState[], wish: SceneWish): Tile | null {
  const sharer = ordered.find((one) => one.screenEnabled && !one.self) ?? ordered.find((one) => one.screenEnabled);
  if (sharer !== undefined) return tileOf(sharer.id, "screen");
  if (wish.layout === "grid" || ordered.length < 2) return null;
  const speaker =
    ordered.find((one) => one.id === wish.speaker && !one.self) ?? ordered.find((one) => !one.self) ?? ordered[0];
  return speaker === undefined ? null : tileOf(speaker.id, "camera");
}

/** Whether two sets hold the same ids; saves a message to the server when not. */
export function sameIds(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  return one.size === other.size && [...one].every((id) => other.has(id));
}
