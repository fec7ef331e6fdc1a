/**
 * The picture of one participant. Elements show one stream that lives as long as the slot; when the path changes, the
 * track inside the stream is exchanged after the new one has decoded its first picture, so no element turns black. A track
 * that ends before that is followed by a still of its last picture.
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

/** A track of one picture: what one of `elements` shows now. Null if none of them has a picture. */
export function still(elements: Iterable<HTMLVideoElement>): MediaStreamTrack | null {
  const element = [...elements].find((one) => one.readyState >= one.HAVE_CURRENT_DATA && one.videoWidth > 0);
  if (!element) return null;
  const canvas = document.createElement("canvas");
  canvas.width = element.videoWidth;
  canvas.height = element.videoHeight;
  const context = canvas.getContext("2d");
  if (!context) return null;
  // The context is there before the capture begins, the picture after it: each drawing is captured as a frame.
  const track = canvas.captureStream().getVideoTracks()[0] ?? null;
  context.drawImage(element, 0, 0);
  return track;
}

export class VideoSlot implements RemoteVideo {
  readonly #elements = new Set<HTMLVideoElement>();
  readonly #listeners = new Set<() => void>();
  readonly #prime: typeof prime;
  readonly #still: typeof still;
  /** Of the tracks that have had no picture yet: the one that is shown, the one that is to come. */
  readonly #primers = new Map<MediaStreamTrack, Primer>();
  #stream: MediaStream | null = null;
  #shown: MediaStreamTrack | null = null;
  #wanted: MediaStreamTrack | null = null;
  /** What is shown if it is a still; ours to stop. */
  #held: MediaStreamTrack | null = null;
  #hasFrame = false;

  constructor(primer: typeof prime = prime, takeStill: typeof still = still) {
    this.#prime = primer;
    this.#still = takeStill;
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

  /**
   * Show `track` as soon as it has a picture; what is shown stays until then. A call may change its path before the first
   * picture of what is shown has come: then both are waited for.
   */
  replace(track: MediaStreamTrack): void {
    if (this.#wanted === track) return;
    this.#wanted = track;
    this.#drop((one) => one !== track && one !== this.#shown);
    if (this.#shown === track) return;
    if (!this.#shown) this.#show(track, false);
    const primer = this.#prime(track);
    this.#primers.set(track, primer);
    void primer.ready.then(() => {
      if (this.#primers.get(track) === primer) this.#decoded(track);
    });
  }

  /**
   * The shown track is about to end: show its last picture until another track has one. To be called before its connection
   * is closed, because Chromium shows black for a track that has ended.
   */
  hold(): void {
    if (!this.#hasFrame || this.#held) return;
    const held = this.#still(this.#elements);
    if (!held) return;
    if (this.#wanted === this.#shown) this.#wanted = null;
    this.#show(held, true);
    this.#held = held;
  }

  /** Show nothing: the source is off or the participant has left. */
  clear(): void {
    this.#drop(() => true);
    this.#releaseHeld();
    this.#shown = null;
    this.#wanted = null;
    this.#stream = null;
    for (const element of this.#elements) element.srcObject = null;
    this.#setFrame(false);
  }

  #decoded(track: MediaStreamTrack): void {
    if (track === this.#wanted) this.#show(track, true);
    else if (track === this.#shown) this.#setFrame(true);
    // Closed last, so that the track is never without an element that decodes it.
    this.#drop((one) => one === track || one !== this.#wanted);
  }

  #drop(which: (track: MediaStreamTrack) => boolean): void {
    for (const [track, primer] of [...this.#primers]) {
      if (!which(track)) continue;
      this.#primers.delete(track);
      primer.close();
    }
  }

  #show(track: MediaStreamTrack, hasFrame: boolean): void {
    if (this.#shown !== track) {
      const old = this.#shown;
      this.#shown = track;
      if (this.#stream) {
        // Add, then remove: an element whose stream is empty for a moment begins anew, in black.
        this.#stream.addTrack(track);
        if (old) this.#stream.removeTrack(old);
        this.#releaseHeld();
        for (const element of this.#elements) if (element.paused) void element.play().catch(() => undefined);
      } else {
        this.#stream = new MediaStream([track]);
        for (const element of this.#elements) play(element, this.#stream);
      }
    }
    this.#setFrame(hasFrame);
  }

  #releaseHeld(): void {
    this.#held?.stop();
    this.#held = null;
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
