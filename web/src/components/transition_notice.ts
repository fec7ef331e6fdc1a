/**
 * The notice of a switch between peer to peer and group call: shown only while it lasts, and only when it takes long enough to be noticed.
 */

import type { SwitchState } from "../call/model";

/** A switch that is over sooner than this shows nothing. */
export const NOTICE_AFTER_MS = 300;

export interface Notice {
  readonly text: "switch.toGroup" | "switch.toDirect" | "switch.toGroupFailed" | "switch.toDirectFailed";
  readonly failed: boolean;
  readonly attempt: number;
}

/** The notice to show at `now`, and when to look again if nothing else happens. */
export function noticeOf(
  transition: SwitchState | null,
  now: number,
): { notice: Notice | null; nextAt: number | null } {
  if (transition === null) return { notice: null, nextAt: null };
  const failed = transition.failed !== null;
  const due = transition.since + NOTICE_AFTER_MS;
  if (!failed && now < due) return { notice: null, nextAt: due };
  return { notice: { text: textOf(transition.to, failed), failed, attempt: transition.attempt }, nextAt: null };
}

function textOf(to: SwitchState["to"], failed: boolean): Notice["text"] {
  if (failed) return to === "sfu" ? "switch.toGroupFailed" : "switch.toDirectFailed";
  return to === "sfu" ? "switch.toGroup" : "switch.toDirect";
}
