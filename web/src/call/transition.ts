/**
 * The rules of the switch between the direct path and the media server, as docs/gateway.md has them. Pure: what there
 * is and what the gateway says go in, what to do comes out.
 */
import type { Mode } from "./model";

/** What this page has of each path. */
export interface Paths {
  /** The peer of the direct path. */
  readonly direct: string | null;
  /** The room of the path through the media server. */
  readonly server: string | null;
  /** The room that is prepared, but does not count yet. */
  readonly warm: string | null;
}

/** What a join answer or `call:mode-switch` asks for. */
export interface Order {
  readonly mode: Mode;
  readonly epoch: number;
  readonly roomId: string | null;
  readonly peer: string | null;
  readonly initiator: boolean;
}

export type Plan =
  | { readonly build: "server"; readonly use: "new" | "warm" | "existing"; readonly drop: readonly Mode[] }
  | { readonly build: "direct"; readonly offer: boolean; readonly peer: string; readonly drop: readonly Mode[] }
  /** Nobody to reach: confirm at once. */
  | { readonly build: "nothing"; readonly drop: readonly Mode[] };

/** Of `call:mode-switch`: what to build, and what of an earlier try has to go first. The old path is kept. */
export function planSwitch(order: Order, oldMode: Mode, paths: Paths): Plan {
  if (order.mode === "sfu") {
    // Re-homing: the room of the old path is gone, its transports with it.
    const stale: Mode[] = paths.server !== null && paths.server !== order.roomId ? ["sfu"] : [];
    if (order.roomId !== null && order.roomId === paths.server) return { build: "server", use: "existing", drop: [] };
    const warm = order.roomId !== null && order.roomId === paths.warm;
    return { build: "server", use: warm ? "warm" : "new", drop: stale };
  }
  if (order.peer === null) return { build: "nothing", drop: [] };
  const again: Mode[] = paths.direct !== null && (oldMode === "p2p" || order.initiator) ? ["p2p"] : [];
  return { build: "direct", offer: order.initiator, peer: order.peer, drop: again };
}

/** Of an answer to `call:join`: everything begins anew. */
export function planJoin(order: Order): Plan | null {
  if (order.mode === "sfu") return { build: "server", use: "new", drop: ["p2p", "sfu"] };
  if (order.peer === null) return null;
  return { build: "direct", offer: order.initiator, peer: order.peer, drop: ["p2p", "sfu"] };
}

/** Of an answer to `call:rejoin`: build what is missing of the path that counts, drop what is neither. */
export function planRejoin(
  order: Order,
  phase: "p2p" | "switching_to_sfu" | "sfu" | "switching_to_p2p",
  known: { readonly epoch: number; readonly phase: string },
  paths: Paths,
): { readonly plan: Plan | null; readonly close: readonly Mode[] } {
  const running = phase.startsWith("switching");
  const close: Mode[] = running ? [] : [order.mode === "sfu" ? "p2p" : "sfu"];
  const same = order.epoch === known.epoch && phase === known.phase;
  if (order.mode === "sfu") {
    const have = paths.server !== null && paths.server === order.roomId;
    return { plan: have && same ? null : planSwitch(order, "sfu", paths), close };
  }
  const have = paths.direct !== null && paths.direct === order.peer;
  if (order.peer === null || (have && !(running && !same))) return { plan: null, close };
  return { plan: planSwitch(order, running ? "sfu" : "p2p", paths), close };
}

/** Epochs only grow: an order of an older one than the newest heard of is late. */
export const isLate = (epoch: number, newest: number): boolean => epoch < newest;

/** Of `call:mode-switched`: the path that is not that of `mode` goes. */
export const closedBy = (mode: Mode): Mode => (mode === "sfu" ? "p2p" : "sfu");

/** How long to wait for the media of a new path: to the deadline, leaving time for the confirmation. */
export function patienceMs(deadline: number | null, now: number): number {
  const FALLBACK_MS = 9000;
  const MARGIN_MS = 500;
  if (deadline === null) return FALLBACK_MS;
  const left = deadline - MARGIN_MS - now;
  // A clock that is wrong must not make the page give up at once, or wait for ever.
  return left < 1000 || left > 30_000 ? FALLBACK_MS : left;
}

export interface Arrival {
  readonly expected: number;
  readonly arrived: number;
  readonly unconsumed: number;
  readonly connected: boolean;
}

/**
 * Whether to confirm: at once when all media is there. A track that never comes (a camera that stands still) must not
 * hold up the call, so two thirds into the time a path that works at all is enough.
 */
export function judgeArrival(seen: Arrival, waitedMs: number, patience: number): "confirm" | "wait" | "give-up" {
  if (seen.connected && seen.unconsumed === 0 && seen.arrived >= seen.expected) return "confirm";
  if (waitedMs >= patience) return seen.arrived > 0 ? "confirm" : "give-up";
  if (waitedMs >= (patience * 2) / 3 && seen.arrived > 0) return "confirm";
  return "wait";
}
