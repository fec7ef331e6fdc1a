/**
 * Whether media has arrived: the first decoded picture, the first sound played out of the jitter buffer. Pure; reads the
 * statistics of a path.
 */
import type { Source } from "../call/model";
import { kindOf } from "./source";

/** A remote track on one path. */
export interface RemoteTrack {
  readonly participantId: string;
  readonly source: Source;
  readonly track: MediaStreamTrack;
}

/** 40 ms of sound: two packets of Opus. */
const STEADY_SAMPLES = 1920;

type Inbound = Partial<RTCInboundRtpStreamStats> & { readonly trackIdentifier?: string };

const flows = (kind: "audio" | "video", stats: Inbound): boolean =>
  kind === "video"
    ? (stats.framesDecoded ?? 0) > 0
    : (stats.jitterBufferEmittedCount ?? stats.packetsReceived ?? 0) >=
      (stats.jitterBufferEmittedCount === undefined ? 3 : STEADY_SAMPLES);

/** Return those of `tracks` whose media has arrived, by the reports of their connection. */
export function arrived(tracks: readonly RemoteTrack[], reports: Iterable<unknown>): RemoteTrack[] {
  const streams: Inbound[] = [];
  for (const report of reports) {
    if ((report as { type?: unknown }).type === "inbound-rtp") streams.push(report as Inbound);
  }
  return tracks.filter(({ track, source }) =>
    streams.some(
      (stream) =>
        stream.trackIdentifier === track.id && stream.kind === kindOf(source) && flows(kindOf(source), stream),
    ),
  );
}
