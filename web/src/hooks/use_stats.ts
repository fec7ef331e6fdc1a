/** Figures of a call, read once a second while somebody looks at them, with those of the last minute. */

import { useEffect, useState } from "react";
import type { CallClientLike, CallStats, TrackStats } from "../call/model";

export const HISTORY_LENGTH = 60;
const INTERVAL_MS = 1000;

/** The figures of a minute, oldest first. */
export type History = readonly CallStats[];

export function remember(history: History, now: CallStats): History {
  return [...history, now].slice(-HISTORY_LENGTH);
}

/** What tells one track from another, in all samples of a call. */
export function trackKey(track: TrackStats): string {
  return `${track.direction}/${track.participantId}/${track.source}/${track.mode}`;
}

/** One value per second of a track; null where the track was not there. */
export function seriesOf(
  history: History,
  key: string,
  value: (track: TrackStats) => number | null,
): readonly (number | null)[] {
  return history.map((sample) => {
    const track = sample.tracks.find((one) => trackKey(one) === key);
    return track === undefined ? null : value(track);
  });
}

export function useStats(client: CallClientLike, enabled: boolean): History {
  const [history, setHistory] = useState<History>([]);
  useEffect(() => {
    if (!enabled) return;
    let current = true;
    let reading = false;
    const read = (): void => {
      if (reading) return; // the former reading is late: two would only make it later
      reading = true;
      client
        .stats()
        .then(
          (now) => current && setHistory((before) => remember(before, now)),
          () => undefined, // the call is over
        )
        .finally(() => {
          reading = false;
        });
    };
    read();
    const timer = window.setInterval(read, INTERVAL_MS);
    return () => {
      current = false;
      window.clearInterval(timer);
    };
  }, [client, enabled]);
  return history;
}
