/**
 * Which of the tracks that paths bring of a participant is seen and heard. While the call changes its path there are
 * two of each; the new one takes over when its media has arrived, and the old one comes back if the new path is dropped.
 */
import type { Source } from "../call/model";
import type { RemoteTrack } from "./arrival";
import { AudioOutput } from "./audio_output";
import { VideoSlot } from "./remote_video";

interface Candidate extends RemoteTrack {
  readonly path: object;
}
interface Choice {
  readonly candidates: Candidate[];
  current: Candidate | null;
}

const keyOf = (participantId: string, source: Source): string => `${source} ${participantId}`;

export class RemoteMedia {
  readonly audio: AudioOutput;
  readonly #choices = new Map<string, Choice>();
  readonly #videos = new Map<string, VideoSlot>();
  readonly #slot: () => VideoSlot;

  constructor(audio: AudioOutput = new AudioOutput(), slot: () => VideoSlot = () => new VideoSlot()) {
    this.audio = audio;
    this.#slot = slot;
  }

  /** The picture of a participant; the same object each time. */
  video(participantId: string, source: "camera" | "screen"): VideoSlot {
    const key = keyOf(participantId, source);
    const slot = this.#videos.get(key) ?? this.#slot();
    this.#videos.set(key, slot);
    return slot;
  }

  /** A path brings a track. */
  add(path: object, track: RemoteTrack): void {
    const choice = this.#choice(track);
    const candidate = { ...track, path };
    choice.candidates.push(candidate);
    if (track.source === "microphone") this.audio.add(track.participantId, track.track);
    if (choice.current === null) this.#take(choice, candidate);
    else if (track.source !== "microphone") this.#show(candidate);
  }

  /** Media of a track has arrived by its path. */
  arrived(path: object, track: RemoteTrack): void {
    const choice = this.#choices.get(keyOf(track.participantId, track.source));
    const candidate = choice?.candidates.find((one) => one.path === path && one.track === track.track);
    // Only the newest path takes over: the old one has arrived long ago.
    if (choice && candidate && candidate === choice.candidates.at(-1)) this.#take(choice, candidate);
  }

  /** A participant stopped sending from a source on this path. */
  remove(path: object, track: RemoteTrack): void {
    const key = keyOf(track.participantId, track.source);
    const choice = this.#choices.get(key);
    if (!choice) return;
    this.#discard(choice, (one) => one.path === path && one.track === track.track);
    if (choice.candidates.length === 0) {
      this.#choices.delete(key);
      this.#videos.get(key)?.clear();
    }
  }

  /** A path is closed. What it showed is shown by another one, or stands still until there is one. Comes before the path closes its tracks. */
  closePath(path: object): void {
    for (const choice of this.#choices.values()) this.#discard(choice, (one) => one.path === path);
  }

  forget(participantId: string): void {
    this.audio.forget(participantId);
    for (const source of ["microphone", "camera", "screen"] as const) {
      const key = keyOf(participantId, source);
      this.#choices.delete(key);
      this.#videos.get(key)?.clear();
    }
  }

  close(): void {
    for (const slot of this.#videos.values()) slot.clear();
    this.#choices.clear();
    this.audio.close();
  }

  #choice(track: RemoteTrack): Choice {
    const key = keyOf(track.participantId, track.source);
    const choice = this.#choices.get(key) ?? { candidates: [], current: null };
    this.#choices.set(key, choice);
    return choice;
  }

  #discard(choice: Choice, which: (one: Candidate) => boolean): void {
    const gone = choice.candidates.filter(which);
    if (gone.length === 0) return;
    for (const one of gone) {
      if (one.source === "microphone") continue;
      const slot = this.video(one.participantId, one.source);
      if (slot.track === one.track) slot.hold();
    }
    choice.candidates.splice(0, choice.candidates.length, ...choice.candidates.filter((one) => !which(one)));
    const heir = choice.candidates.at(-1);
    if (choice.current && gone.includes(choice.current)) {
      choice.current = null;
      if (heir) this.#take(choice, heir);
    } else if (heir && heir === choice.current && heir.source !== "microphone") {
      // The one that was to come is gone: stay with what is shown.
      this.#show(heir);
    }
    for (const one of gone) if (one.source === "microphone") this.audio.remove(one.participantId, one.track);
  }

  #take(choice: Choice, candidate: Candidate): void {
    choice.current = candidate;
    if (candidate.source === "microphone") this.audio.crossfade(candidate.participantId, candidate.track);
    else this.#show(candidate);
  }

  #show(candidate: Candidate): void {
    if (candidate.source !== "microphone")
      this.video(candidate.participantId, candidate.source).replace(candidate.track);
  }
}
