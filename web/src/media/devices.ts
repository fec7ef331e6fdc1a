/** Cameras and microphones: what there is, how to open them, and what is wrong when that fails. */
import type { MediaProblem } from "../call/model";

export interface DeviceChoice {
  readonly id: string;
  readonly label: string;
}
export interface DeviceList {
  readonly microphones: readonly DeviceChoice[];
  readonly cameras: readonly DeviceChoice[];
  readonly speakers: readonly DeviceChoice[];
}
export interface DeviceWish {
  readonly audio: boolean;
  readonly video: boolean;
  readonly audioId?: string | undefined;
  readonly videoId?: string | undefined;
}
export interface OpenedDevices {
  readonly audio: MediaStreamTrack | null;
  readonly video: MediaStreamTrack | null;
  readonly problems: readonly MediaProblem[];
}

type Kind = "audio" | "video";

const VIDEO: MediaTrackConstraints = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
const AUDIO: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
const WORDS = { audio: "microphone", video: "camera" } as const;

/** Labels are empty until the user has allowed a device. */
export async function listDevices(): Promise<DeviceList> {
  const devices = (await mediaDevices()?.enumerateDevices()) ?? [];
  const of = (kind: MediaDeviceKind) =>
    devices.filter((one) => one.kind === kind).map(({ deviceId, label }) => ({ id: deviceId, label }));
  return { microphones: of("audioinput"), cameras: of("videoinput"), speakers: of("audiooutput") };
}

/** Open what is wished. Never rejects: what is wrong with one device leaves the other. */
export async function openDevices(wish: DeviceWish): Promise<OpenedDevices> {
  const kinds = (["audio", "video"] as const).filter((kind) => wish[kind]);
  const devices = mediaDevices();
  if (!devices) {
    const insecure = (kind: Kind) => problemOf(kind, new DOMException("no media devices", "SecurityError"));
    return { audio: null, video: null, problems: kinds.map(insecure) };
  }
  const found: Record<Kind, MediaStreamTrack | null> = { audio: null, video: null };
  const problems: MediaProblem[] = [];
  // Together first: one question to the user instead of two.
  if (kinds.length === 2) {
    try {
      const stream = await devices.getUserMedia(constraintsOf(wish, kinds));
      return { audio: stream.getAudioTracks()[0] ?? null, video: stream.getVideoTracks()[0] ?? null, problems };
    } catch {
      // One of the two fails; each alone says which.
    }
  }
  for (const kind of kinds) {
    try {
      found[kind] = (await devices.getUserMedia(constraintsOf(wish, [kind]))).getTracks()[0] ?? null;
    } catch (error) {
      problems.push(problemOf(kind, error));
    }
  }
  return { ...found, problems };
}

/** Open the user's choice of a screen, window or tab; null when the user declines. */
export async function openScreen(): Promise<MediaStreamTrack | null> {
  try {
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 15 } }, audio: false });
    const track = stream.getVideoTracks()[0] ?? null;
    if (track) track.contentHint = "detail";
    return track;
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotAllowedError") return null;
    throw error;
  }
}

const mediaDevices = (): MediaDevices | undefined =>
  (navigator as { readonly mediaDevices?: MediaDevices }).mediaDevices;

function constraintsOf(wish: DeviceWish, kinds: readonly Kind[]): MediaStreamConstraints {
  const of = (kind: Kind, base: MediaTrackConstraints, id: string | undefined): MediaTrackConstraints | false =>
    kinds.includes(kind) && (id ? { ...base, deviceId: { exact: id } } : base);
  return { audio: of("audio", AUDIO, wish.audioId), video: of("video", VIDEO, wish.videoId) };
}

/** Say what is wrong with a device, and what helps. */
export function problemOf(kind: Kind, error: unknown): MediaProblem {
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  const word = WORDS[kind];
  switch (name) {
    case "NotAllowedError":
      return {
        code: "permission-denied",
        kind,
        message: `the ${word} was not allowed`,
        remedy: `Allow the ${word} in the browser's address bar, then try again.`,
      };
    case "NotReadableError":
    case "AbortError":
      return {
        code: "device-in-use",
        kind,
        message: `the ${word} is in use or does not start`,
        remedy: `Close other programs that use the ${word}, then try again.`,
      };
    case "NotFoundError":
    case "OverconstrainedError":
      return {
        code: "no-device",
        kind,
        message: `no such ${word} was found`,
        remedy: `Connect a ${word} or choose another one.`,
      };
    case "SecurityError":
    case "TypeError":
      return {
        code: "insecure-origin",
        kind,
        message: "the browser opens devices only for pages over HTTPS or of this machine",
        remedy: "Open the page over HTTPS.",
      };
    default:
      return {
        code: "unknown",
        kind,
        message: `the ${word} cannot be opened: ${error instanceof Error ? error.message : String(error)}`,
        remedy: `Reconnect the ${word} or restart the browser.`,
      };
  }
}
