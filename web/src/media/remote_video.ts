/**
 * The picture of one participant. Elements show one stream that lives as long as the slot; when the path changes, the
 * track inside the stream is exchanged after the new one has decoded its first picture, so no element turns black.
 */
import type { RemoteVideo } from "../call/model";

/** Decodes a track until its first picture is there. */
interface Primer {
  readonly ready: Promise<void>;
  close(): void;
}

/** A video element outside of the page that plays `track`. */
export function prime(track: MediaStreamTrack): Primer {
  const element = document.createElement("video");
  element.muted = true;
  element.playsInline = true;
  const ready = new Promise<void>((done) => {
    // The first presented picture; in a page in the background none is presented, but its data is loaded.
    if ("requestVideoFrameCallback" in element) element.requestVideoFrameCallback(() => done());
    element.addEventListener("loadeddata", () => done(), { once: true });
  });
  element.srcObject = new MediaStream([track]);
  void element.play().catch(() => undefined);
  return {
    ready,
    close: () => {
      element.pause();
      element.srcObject = null;
    },
  };
}

export class VideoSlot implements RemoteVideo {
  readonly #elements = new Set<HTMLVideoElement>();
  readonly #listeners = new Set<() => void>();
  readonly #prime: typeof prime;
  #stream: MediaStream | null = null;
  #shown: MediaStreamTrack | null = null;
  #next: { track: MediaStreamTrack; primer: Primer } | null = null;
  #hasFrame = false;

  constructor(primer: typeof prime = prime) {
    this.#prime = primer;
  }

  get hasFrame(): boolean {
    return this.#hasFrame;
  }

  get track(): MediaStreamTrack | null {
    return this.#shown;
  }

  attach(element: HTMLVideoElement): () => void {
    this.#elements.add(element);
    element.muted = true;
    element.playsInline = true;
    element.autoplay = true;
    if (this.#stream) play(element, this.#stream);
    return () => {
      this.#elements.delete(element);
      if (element.srcObject === this.#stream) element.srcObject = null;
    };
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Show `track` as soon as it has a picture; what is shown stays until then. */
  replace(track: MediaStreamTrack): void {
    if (this.#next?.track === track) return;
    this.#cancel();
    if (this.#shown === track) return;
    const primer = this.#prime(track);
    this.#next = { track, primer };
    if (!this.#shown) this.#show(track, false);
    void primer.ready.then(() => {
      if (this.#next?.track !== track) return;
      this.#next = null;
      this.#show(track, true);
      primer.close();
    });
  }

  /** Show nothing: the source is off or the participant has left. */
  clear(): void {
    this.#cancel();
    this.#shown = null;
    this.#stream = null;
    for (const element of this.#elements) element.srcObject = null;
    this.#setFrame(false);
  }

  #cancel(): void {
    this.#next?.primer.close();
    this.#next = null;
  }

  #show(track: MediaStreamTrack, hasFrame: boolean): void {
    if (this.#shown !== track) {
      const old = this.#shown;
      this.#shown = track;
      if (this.#stream) {
        // Add, then remove: an element whose stream is empty for a moment begins anew, in black.
        this.#stream.addTrack(track);
        if (old) this.#stream.removeTrack(old);
        for (const element of this.#elements) if (element.paused) void element.play().catch(() => undefined);
      } else {
        this.#stream = new MediaStream([track]);
        for (const element of this.#elements) play(element, this.#stream);
      }
    }
    this.#setFrame(hasFrame);
  }

  #setFrame(hasFrame: boolean): void {
    if (this.#hasFrame === hasFrame) return;
    this.#hasFrame = hasFrame;
    for (const listener of [...this.#listeners]) listener();
  }
}

function play(element: HTMLVideoElement, stream: MediaStream): void {
  element.srcObject = stream;
  void element.play().catch(() => undefined);
}
