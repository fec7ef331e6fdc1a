/**
 * What the library shows of a call: immutable values that a page renders.
 *
 * Times are milliseconds since 1970 unless a name says otherwise. Texts (`message`, `detail`, `remedy`) are English, for
 * logs; a page that speaks other languages chooses its own words by `code` and `id`.
 */

export type Mode = "p2p" | "sfu";
export type Stage = "idle" | "joining" | "in-call" | "reconnecting" | "ended" | "failed";
export type Source = "microphone" | "camera" | "screen";
export type Quality = 0 | 1 | 2 | 3 | 4;

/** Why a device could not be opened, and what helps. */
export interface MediaProblem {
  readonly code: "permission-denied" | "device-in-use" | "no-device" | "insecure-origin" | "unknown";
  readonly kind: "audio" | "video";
  readonly message: string;
  readonly remedy: string;
}

export interface ParticipantState {
  readonly id: string;
  readonly name: string;
  readonly self: boolean;
  readonly audioEnabled: boolean;
  readonly videoEnabled: boolean;
  readonly screenEnabled: boolean;
  readonly connection: "connecting" | "connected" | "reconnecting";
  readonly speaking: boolean;
  /** 0 is silence, 1 the loudest. */
  readonly volume: number;
  /** 4 is the best; null while unknown. */
  readonly quality: Quality | null;
  readonly joinedAt: number;
}

/** A change of path that is going on, or the last one if it failed. */
export interface SwitchState {
  readonly to: Mode;
  readonly since: number;
  /** 1 for the first try of this change. */
  readonly attempt: number;
  /** Why the last try failed; null while one runs. */
  readonly failed: string | null;
}

export interface LocalState {
  readonly microphone: "on" | "muted" | "off";
  readonly camera: "on" | "off";
  readonly screen: "on" | "off";
  readonly microphoneId: string | null;
  readonly cameraId: string | null;
  readonly error: MediaProblem | null;
}

export interface CallState {
  readonly stage: Stage;
  readonly callId: string | null;
  readonly mode: Mode | null;
  readonly transition: SwitchState | null;
  /** The own participant id. */
  readonly self: string | null;
  /** In the order of joining. */
  readonly participants: readonly ParticipantState[];
  readonly activeSpeaker: string | null;
  readonly local: LocalState;
  readonly startedAt: number | null;
  /** After the end. */
  readonly summary: CallSummary | null;
  readonly failure: Failure | null;
  /** Another page of the same user took this place. */
  readonly replaced: boolean;
}

export interface CallSummary {
  readonly durationS: number;
  readonly reason: string;
  readonly switches: number;
  readonly lossRatio: number | null;
  readonly rttMs: number | null;
  readonly longestFreezeMs: number | null;
}

export type FailureCode =
  | "permission-denied"
  | "device-in-use"
  | "no-device"
  | "insecure-origin"
  | "token-expired"
  | "token-invalid"
  | "clock-skew"
  | "gateway-unreachable"
  | "media-unreachable"
  | "udp-blocked"
  | "wrong-announced-address"
  | "call-full"
  | "call-ended"
  | "rate-limited"
  | "kicked"
  | "unsupported-browser"
  | "unknown";

export interface Failure {
  readonly code: FailureCode;
  readonly message: string;
  readonly diagnosis: Diagnosis | null;
}

export interface Check {
  readonly id: string;
  readonly state: "passed" | "failed" | "skipped";
  readonly detail: string;
  readonly remedy: string | null;
}

export interface CandidateReport {
  readonly address: string | null;
  readonly port: number | null;
  readonly protocol: string;
  readonly type: string;
}

export interface CandidatePairReport {
  readonly local: CandidateReport;
  readonly remote: CandidateReport;
  readonly state: string;
  readonly nominated: boolean;
  readonly rttMs: number | null;
}

export interface Diagnosis {
  readonly checks: readonly Check[];
  readonly pairs: readonly CandidatePairReport[];
}

/** Figures of one track over the time since the reading before. */
export interface TrackStats {
  readonly participantId: string;
  readonly source: Source;
  readonly direction: "in" | "out";
  readonly mode: Mode;
  readonly bitrateBps: number | null;
  readonly framesPerSecond: number | null;
  readonly width: number | null;
  readonly height: number | null;
  readonly lossRatio: number | null;
  readonly rttMs: number | null;
  readonly jitterMs: number | null;
  readonly codec: string | null;
  /** Whether a TURN relay is in the way. */
  readonly relay: boolean | null;
}

export interface CallStats {
  readonly at: number;
  readonly mode: Mode | null;
  readonly tracks: readonly TrackStats[];
}

/** The tracks to send. The library owns them from now on and stops them at the end. */
export interface LocalMedia {
  readonly audio: MediaStreamTrack | null;
  readonly video: MediaStreamTrack | null;
}

/** The picture of one participant. It stays the same object while paths and tracks change beneath it. */
export interface RemoteVideo {
  /** Show the picture in `element` until the returned function is called. */
  attach(element: HTMLVideoElement): () => void;
  readonly hasFrame: boolean;
  subscribe(listener: () => void): () => void;
}

/** What `CallClient` offers, for pages and tests that need no more than its type. */
export interface CallClientLike {
  readonly state: CallState;
  subscribe(listener: () => void): () => void;
  enter(conversationId: string, media: LocalMedia): Promise<void>;
  join(callId: string, media: LocalMedia): Promise<void>;
  setMicrophone(on: boolean): Promise<void>;
  setCamera(on: boolean): Promise<void>;
  shareScreen(on: boolean): Promise<void>;
  useMicrophone(deviceId: string): Promise<void>;
  useCamera(deviceId: string): Promise<void>;
  watch(visible: ReadonlySet<string>): void;
  video(participantId: string, source: "camera" | "screen"): RemoteVideo;
  retry(): Promise<void>;
  stats(): Promise<CallStats>;
  resumeAudio(): Promise<void>;
  setVolume(participantId: string, volume: number): void;
  leave(): Promise<void>;
  close(): void;
}
