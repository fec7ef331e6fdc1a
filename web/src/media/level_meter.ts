/** How loud a track is just now, for a meter beside a preview. */
import { loudness } from "./audio_output";

export class LevelMeter {
  readonly #context: AudioContext;
  readonly #source: MediaStreamAudioSourceNode;
  readonly #analyser: AnalyserNode;
  readonly #samples = new Float32Array(512);

  constructor(track: MediaStreamTrack, context: AudioContext = new AudioContext()) {
    this.#context = context;
    this.#source = context.createMediaStreamSource(new MediaStream([track]));
    this.#analyser = context.createAnalyser();
    this.#analyser.fftSize = this.#samples.length;
    this.#source.connect(this.#analyser);
  }

  /** 0 is silence, 1 full scale. */
  read(): number {
    if (this.#context.state === "suspended") void this.#context.resume().catch(() => undefined);
    this.#analyser.getFloatTimeDomainData(this.#samples);
    return loudness(this.#samples);
  }

  /** Idempotent; the track goes on. */
  close(): void {
    this.#source.disconnect();
    if (this.#context.state !== "closed") void this.#context.close().catch(() => undefined);
  }
}
