/** Participants in the order of their tiles, kept steady over the life of the page. */

import { useMemo, useState } from "react";
import type { ParticipantState } from "../call/model";
import { EMPTY_ORDER, arrange, type TileOrder } from "../components/tile_order";
import { useWakeAt } from "./use_now";

/** The order as it was last drawn. Asking twice for the same state changes nothing, so a component may do it while it renders. */
class LastOrder {
  private order: TileOrder = EMPTY_ORDER;

  update(participants: readonly ParticipantState[], activeSpeaker: string | null): TileOrder {
    this.order = arrange(this.order, participants, activeSpeaker, Date.now());
    return this.order;
  }
}

export function useTileOrder(
  participants: readonly ParticipantState[],
  activeSpeaker: string | null,
): readonly ParticipantState[] {
  const [last] = useState(() => new LastOrder());
  const { ids, nextAt } = last.update(participants, activeSpeaker);
  useWakeAt(nextAt);
  return useMemo(() => {
    const byId = new Map(participants.map((one) => [one.id, one]));
    return ids.flatMap((id) => byId.get(id) ?? []);
  }, [ids, participants]);
}
