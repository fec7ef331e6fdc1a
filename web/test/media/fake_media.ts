/** The parts of the browser's media API that jsdom lacks, as far as the library uses them. */
import { vi } from "vitest";

let tracks = 0;

export class FakeTrack extends EventTarget {
  readonly id: string;
  enabled = true;
  readyState: "live" | "ended" = "live";
  onended: (() => void) | null = null;
  contentHint = "";
  readonly label: string;

  constructor(
    readonly kind: "audio" | "video",
    readonly deviceId = "",
  ) {
    super();
    tracks += 1;
    this.id = `track-${tracks}`;
    this.label = `fake ${kind}`;
  }

  stop(): void {
    this.readyState = "ended";
  }

  getSettings(): { deviceId: string } {
    return { deviceId: this.deviceId };
  }
}

export const fakeTrack = (kind: "audio" | "video", deviceId = ""): MediaStreamTrack =>
  new FakeTrack(kind, deviceId) as unknown as MediaStreamTrack;

export class FakeStream {
  #tracks: unknown[];
  constructor(list: readonly unknown[] = []) {
    this.#tracks = [...list];
  }
  getTracks(): unknown[] {
    return [...this.#tracks];
  }
  getAudioTracks(): unknown[] {
    return this.#tracks.filter((one) => (one as FakeTrack).kind === "audio");
  }
  getVideoTracks(): unknown[] {
    return this.#tracks.filter((one) => (one as FakeTrack).kind === "video");
  }
  addTrack(track: unknown): void {
    this.#tracks.push(track);
  }
  removeTrack(track: unknown): void {
    this.#tracks = this.#tracks.filter((one) => one !== track);
  }
}

/** Of an audio parameter: the value its ramps lead to, and what was asked of it. */
export class FakeParameter {
  value = 1;
  readonly ramps: [value: number, at: number][] = [];
  cancelScheduledValues(): void {
    /* nothing is scheduled: ramps are at their end at once */
  }
  setValueAtTime(value: number): void {
    this.value = value;
  }
  linearRampToValueAtTime(value: number, at: number): void {
    this.ramps.push([value, at]);
    this.value = value;
  }
}

class FakeNode {
  readonly gain = new FakeParameter();
  fftSize = 0;
  connected: unknown[] = [];
  constructor(readonly context: FakeAudioContext) {}
  connect(target: unknown): void {
    this.connected.push(target);
  }
  disconnect(): void {
    this.connected = [];
  }
  getFloatTimeDomainData(samples: Float32Array): void {
    samples.fill(this.context.level);
  }
}

export class FakeAudioContext {
  state = "suspended";
  currentTime = 5;
  level = 0;
  readonly destination = {};
  readonly gains: FakeNode[] = [];
  createGain(): FakeNode {
    const node = new FakeNode(this);
    this.gains.push(node);
    return node;
  }
  createAnalyser(): FakeNode {
    return new FakeNode(this);
  }
  createMediaStreamSource(): FakeNode {
    return new FakeNode(this);
  }
  resume(): Promise<void> {
    this.state = "running";
    return Promise.resolve();
  }
  close(): Promise<void> {
    this.state = "closed";
    return Promise.resolve();
  }
}

export function installMedia(): void {
  vi.stubGlobal("MediaStream", FakeStream);
  for (const method of ["play", "pause"] as const) {
    vi.spyOn(HTMLMediaElement.prototype, method).mockImplementation(() => Promise.resolve());
  }
  const sources = new WeakMap<HTMLMediaElement, unknown>();
  Object.defineProperty(HTMLMediaElement.prototype, "srcObject", {
    configurable: true,
    get(this: HTMLMediaElement) {
      return sources.get(this) ?? null;
    },
    set(this: HTMLMediaElement, value: unknown) {
      sources.set(this, value);
    },
  });
}

export function installDevices(devices: Partial<MediaDevices> | undefined): void {
  Object.defineProperty(navigator, "mediaDevices", { configurable: true, value: devices });
}
