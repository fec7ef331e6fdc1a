/**
 * Plays what participants say, through Web Audio: each has a volume, and when the path changes the new sound is faded in
 * while the old is faded out, so that nothing is heard twice.
 */

const FADE_S = 0.015;
const LEVEL_SAMPLES = 512;

interface Voice {
  readonly track: MediaStreamTrack;
  readonly gain: GainNode;
  close(): void;
}
interface Listener {
  readonly volume: GainNode;
  readonly analyser: AnalyserNode;
  readonly voices: Map<MediaStreamTrack, Voice>;
  current: MediaStreamTrack | null;
}

export class AudioOutput {
  readonly #create: () => AudioContext;
  readonly #listeners = new Map<string, Listener>();
  readonly #volumes = new Map<string, number>();
  #context: AudioContext | null = null;

  constructor(create: () => AudioContext = () => new AudioContext({ latencyHint: "interactive" })) {
    this.#create = create;
  }

  /** Whether the browser waits for a gesture of the user before it plays. */
  get blocked(): boolean {
    return this.#context?.state === "suspended";
  }

  /** The context, for measurements; null before the first sound. */
  get context(): AudioContext | null {
    return this.#context;
  }

  /** Call in a handler of a click or key. */
  async resume(): Promise<void> {
    await this.#ready().resume();
  }

  /** Add a track. The first of a participant is heard at once, another one from `crossfade` on. */
  add(participantId: string, track: MediaStreamTrack): void {
    const listener = this.#listener(participantId);
    if (listener.voices.has(track)) return;
    const voice = this.#voice(track, listener.volume);
    listener.voices.set(track, voice);
    voice.gain.gain.value = listener.current === null ? 1 : 0;
    listener.current ??= track;
  }

  /** Change over to a track that was added. */
  crossfade(participantId: string, track: MediaStreamTrack): void {
    const listener = this.#listeners.get(participantId);
    if (!listener?.voices.has(track) || listener.current === track) return;
    listener.current = track;
    const now = this.#ready().currentTime;
    for (const voice of listener.voices.values()) {
      const { gain } = voice.gain;
      gain.cancelScheduledValues(now);
      gain.setValueAtTime(gain.value, now);
      // Both carry the same voice: linear ramps keep their sum level.
      gain.linearRampToValueAtTime(voice.track === track ? 1 : 0, now + FADE_S);
    }
  }

  remove(participantId: string, track: MediaStreamTrack): void {
    const listener = this.#listeners.get(participantId);
    const voice = listener?.voices.get(track);
    if (!listener || !voice) return;
    listener.voices.delete(track);
    voice.close();
    if (listener.current === track) listener.current = null;
  }

  forget(participantId: string): void {
    const listener = this.#listeners.get(participantId);
    if (!listener) return;
    for (const voice of listener.voices.values()) voice.close();
    listener.volume.disconnect();
    listener.analyser.disconnect();
    this.#listeners.delete(participantId);
  }

  /** 0 is silence, 1 as it was sent. */
  setVolume(participantId: string, volume: number): void {
    const value = Math.min(1, Math.max(0, volume));
    this.#volumes.set(participantId, value);
    const listener = this.#listeners.get(participantId);
    if (listener) listener.volume.gain.value = value;
  }

  /** How loud each participant is just now, 0 to 1. */
  levels(): ReadonlyMap<string, number> {
    const samples = new Float32Array(LEVEL_SAMPLES);
    return new Map(
      [...this.#listeners].map(([id, { analyser }]) => {
        analyser.getFloatTimeDomainData(samples);
        return [id, loudness(samples)];
      }),
    );
  }

  close(): void {
    for (const id of [...this.#listeners.keys()]) this.forget(id);
    void this.#context?.close().catch(() => undefined);
    this.#context = null;
  }

  #ready(): AudioContext {
    this.#context ??= this.#create();
    return this.#context;
  }

  #listener(participantId: string): Listener {
    const known = this.#listeners.get(participantId);
    if (known) return known;
    const context = this.#ready();
    const volume = context.createGain();
    const analyser = context.createAnalyser();
    analyser.fftSize = LEVEL_SAMPLES;
    volume.gain.value = this.#volumes.get(participantId) ?? 1;
    volume.connect(analyser);
    volume.connect(context.destination);
    const listener: Listener = { volume, analyser, voices: new Map(), current: null };
    this.#listeners.set(participantId, listener);
    return listener;
  }

  #voice(track: MediaStreamTrack, target: GainNode): Voice {
    const context = this.#ready();
    const stream = new MediaStream([track]);
    // Chromium pulls sound out of a remote track only while a media element plays it.
    const element = document.createElement("audio");
    element.muted = true;
    element.srcObject = stream;
    void element.play().catch(() => undefined);
    const source = context.createMediaStreamSource(stream);
    const gain = context.createGain();
    source.connect(gain);
    gain.connect(target);
    return {
      track,
      gain,
      close: () => {
        source.disconnect();
        gain.disconnect();
        element.pause();
        element.srcObject = null;
      },
    };
  }
}

/** Of samples between −1 and 1, on the scale of ears: −60 dB and less is 0, full scale is 1. */
export function loudness(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return levelOf(10 * Math.log10(sum / Math.max(1, samples.length)));
}

/** A level in decibels below full scale as 0 to 1. */
export const levelOf = (decibels: number): number => Math.min(1, Math.max(0, (decibels + 60) / 60));
