/** What jsdom lacks of a browser, for tests of components. Import it first. */

import { cleanup } from "@testing-library/react";
import { afterEach, beforeEach, vi } from "vitest";
import { settingsStore } from "../src/store/settings";

/** The size that every element has. */
export const ELEMENT = { width: 1280, height: 640 };

class SameSize implements ResizeObserver {
  observe(): void {
    // Elements keep their size in these tests.
  }
  unobserve(): void {
    // As above.
  }
  disconnect(): void {
    // As above.
  }
}

export class FakeTrack extends EventTarget {
  readonly id: string;
  stopped = false;
  constructor(readonly kind: "audio" | "video") {
    super();
    this.id = `${kind}-${Math.random()}`;
  }
  stop(): void {
    this.stopped = true;
  }
}

/** Cameras and microphones that a test can take away. */
export class FakeDevices extends EventTarget {
  refusal: Partial<Record<"audio" | "video", string>> = {};
  list: { kind: string; deviceId: string; label: string }[] = [
    { kind: "audioinput", deviceId: "mic-1", label: "Headset" },
    { kind: "audioinput", deviceId: "mic-2", label: "" },
    { kind: "videoinput", deviceId: "cam-1", label: "Webcam" },
  ];
  /** When the person has answered the browser's question. */
  answered: Promise<void> = Promise.resolve();
  readonly opened: FakeTrack[] = [];
  readonly asked: MediaStreamConstraints[] = [];

  enumerateDevices(): Promise<unknown> {
    return Promise.resolve(this.list);
  }

  async getUserMedia(constraints: MediaStreamConstraints): Promise<unknown> {
    this.asked.push(constraints);
    await this.answered;
    const kinds = (["audio", "video"] as const).filter((kind) => Boolean(constraints[kind]));
    for (const kind of kinds) {
      const wish = constraints[kind];
      const id = typeof wish === "object" ? (wish.deviceId as { exact?: string } | undefined)?.exact : undefined;
      const gone = id !== undefined && !this.list.some((one) => one.deviceId === id);
      const refusal = gone ? "OverconstrainedError" : this.refusal[kind];
      if (refusal !== undefined) throw new DOMException("refused by the test", refusal);
    }
    const tracks = kinds.map((kind) => new FakeTrack(kind));
    this.opened.push(...tracks);
    return {
      getTracks: () => tracks,
      getAudioTracks: () => tracks.filter((track) => track.kind === "audio"),
      getVideoTracks: () => tracks.filter((track) => track.kind === "video"),
    };
  }
}

export let devices = new FakeDevices();

class SilentAudio {
  state = "running";
  createAnalyser(): unknown {
    return { fftSize: 0, getFloatTimeDomainData: (samples: Float32Array) => samples.fill(0.1) };
  }
  createMediaStreamSource(): unknown {
    return { connect: () => undefined, disconnect: () => undefined };
  }
  resume(): Promise<void> {
    return Promise.resolve();
  }
  close(): Promise<void> {
    this.state = "closed";
    return Promise.resolve();
  }
}

beforeEach(() => {
  devices = new FakeDevices();
  vi.stubGlobal("ResizeObserver", SameSize);
  vi.stubGlobal("AudioContext", SilentAudio);
  vi.stubGlobal("MediaStream", class extends EventTarget {});
  vi.stubGlobal("matchMedia", (query: string) => ({
    matches: query.includes("dark"),
    addEventListener: () => undefined,
    removeEventListener: () => undefined,
  }));
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue(null);
  Object.defineProperty(navigator, "mediaDevices", { configurable: true, value: devices });
  Object.defineProperty(HTMLElement.prototype, "clientWidth", { configurable: true, value: ELEMENT.width });
  Object.defineProperty(HTMLElement.prototype, "clientHeight", { configurable: true, value: ELEMENT.height });
  settingsStore.change({
    name: "",
    microphoneId: null,
    cameraId: null,
    microphoneOn: true,
    cameraOn: true,
    theme: "system",
    language: "en",
    layout: "grid",
    talkKey: true,
  });
});

afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  sessionStorage.clear();
});
