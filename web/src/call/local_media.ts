/** The own microphone, camera and screen in a call. Owns their tracks: what is switched off or replaced is stopped. */
import { openDevices, openScreen } from "../media/devices";
import type { LocalTracks } from "../media/source";
import type { LocalMedia as OpenedMedia, LocalState, MediaProblem, Source } from "./model";

/** A device cannot be opened; `problem` says why and what helps. */
export class DeviceError extends Error {
  override readonly name = "DeviceError";
  readonly problem: MediaProblem;

  constructor(problem: MediaProblem) {
    super(problem.message);
    this.problem = problem;
  }
}

export class LocalMedia {
  readonly #tracks: Record<Source, MediaStreamTrack | null> = { microphone: null, camera: null, screen: null };
  readonly #ended: (source: Source) => void;
  #muted = false;

  /** `ended` is called when a device was unplugged, or the user stops sharing by the browser's own button. */
  constructor(ended: (source: Source) => void) {
    this.#ended = ended;
  }

  get tracks(): LocalTracks {
    const of = (source: Source, muted = false) => ({ track: this.#tracks[source], muted });
    return { microphone: of("microphone", this.#muted), camera: of("camera"), screen: of("screen") };
  }

  get state(): Omit<LocalState, "error"> {
    const { microphone, camera, screen } = this.#tracks;
    const speaking = this.#muted ? "muted" : "on";
    return {
      microphone: microphone ? speaking : "off",
      camera: camera ? "on" : "off",
      screen: screen ? "on" : "off",
      microphoneId: microphone?.getSettings().deviceId ?? null,
      cameraId: camera?.getSettings().deviceId ?? null,
    };
  }

  /** Take tracks that were opened before the call. */
  take({ audio, video }: OpenedMedia): void {
    this.#set("microphone", audio);
    this.#set("camera", video);
    this.#muted = audio ? !audio.enabled : false;
  }

  async setMicrophone(on: boolean): Promise<void> {
    if (on && !this.#live("microphone")) this.#set("microphone", await open("audio"));
    this.#muted = !on;
    if (this.#tracks.microphone) this.#tracks.microphone.enabled = on;
  }

  async setCamera(on: boolean): Promise<void> {
    if (!on) this.#set("camera", null);
    else if (!this.#live("camera")) this.#set("camera", await open("video"));
  }

  /** False when the user declined. */
  async setScreen(on: boolean): Promise<boolean> {
    if (!on) {
      this.#set("screen", null);
    } else if (!this.#live("screen")) {
      const track = await openScreen();
      if (!track) return false;
      this.#set("screen", track);
    }
    return true;
  }

  async useMicrophone(deviceId: string): Promise<void> {
    const track = await open("audio", deviceId);
    track.enabled = !this.#muted;
    this.#set("microphone", track);
  }

  async useCamera(deviceId: string): Promise<void> {
    this.#set("camera", await open("video", deviceId));
  }

  close(): void {
    for (const source of ["microphone", "camera", "screen"] as const) this.#set(source, null);
  }

  #live(source: Source): boolean {
    return this.#tracks[source]?.readyState === "live";
  }

  /** The former track is stopped a moment later: whoever sends it changes over first. */
  #set(source: Source, track: MediaStreamTrack | null): void {
    const former = this.#tracks[source];
    this.#tracks[source] = track;
    if (former && former !== track) {
      former.onended = null;
      if (track) setTimeout(() => former.stop(), 1000);
      else former.stop();
    }
    if (track) {
      track.onended = () => {
        if (this.#tracks[source] === track) this.#ended(source);
      };
    }
  }
}

async function open(kind: "audio" | "video", deviceId?: string): Promise<MediaStreamTrack> {
  const wish =
    kind === "audio"
      ? { audio: true, video: false, audioId: deviceId }
      : { audio: false, video: true, videoId: deviceId };
  const opened = await openDevices(wish);
  const track = opened[kind];
  if (track) return track;
  const problem = opened.problems[0];
  throw problem ? new DeviceError(problem) : new Error(`the browser opened no ${kind} device`);
}
