/** Where a track comes from, and in which order sources appear in a peer-to-peer description. */
import type { Source } from "../call/model";

export const SOURCES: readonly Source[] = ["microphone", "camera", "screen"];

export const kindOf = (source: Source): "audio" | "video" => (source === "microphone" ? "audio" : "video");

/** Of a producer's `appData`: clients that name no source send a microphone and a camera. */
export function sourceOf(kind: "audio" | "video", appData: Readonly<Record<string, unknown>>): Source {
  if (kind === "audio") return "microphone";
  return appData["source"] === "screen" ? "screen" : "camera";
}

/** What is to be sent from one source: null when it is off; `muted` keeps the device but sends nothing. */
export interface LocalTrack {
  readonly track: MediaStreamTrack | null;
  readonly muted: boolean;
}
export type LocalTracks = Readonly<Record<Source, LocalTrack>>;
