/** What a `CallClient` is made with, and the events it emits beside changes of its state. */
import type { TokenSource } from "./gateway";
import type { CallState, Mode } from "./model";

export interface CallClientOptions {
  /** Origin of the gateway; the page's own when left out. */
  readonly gatewayUrl?: string;
  /** The user's token, or a function that gets a fresh one; only then it is renewed. */
  readonly token: TokenSource;
  readonly log?: (line: string) => void;
  /** `relay` sends all media through TURN. */
  readonly iceTransportPolicy?: RTCIceTransportPolicy;
}

export interface CallEvents {
  state: CallState;
  /** A change of path began, ended or failed. */
  switching: { readonly to: Mode; readonly from: Mode };
  switched: { readonly mode: Mode; readonly success: boolean; readonly durationMs: number };
  "participant-joined": { readonly id: string; readonly name: string };
  "participant-left": { readonly id: string; readonly name: string; readonly reason: string };
  /** A switch to the media server would fail for this participant. */
  "sfu-unreachable": { readonly id: string; readonly reason: string };
  /** The browser plays sound only after a gesture of the user: call `resumeAudio` in one. */
  "audio-blocked": Record<string, never>;
  ended: { readonly reason: string };
}
