/** A client without servers, for tests of pages: its state is set by the test, and it notes what the page asks for. */

import type { CallClientLike, CallState, CallStats, LocalMedia, RemoteVideo } from "../src/call/model";

export class CallDouble implements CallClientLike {
  readonly asked: string[] = [];
  watched: ReadonlySet<string> = new Set();
  /** Set by a test: the next action waits for it or fails with it. */
  answer: () => Promise<void> = () => Promise.resolve();
  /** The stream of a tile; none in tests without a browser. */
  streamOf: (participantId: string, source: "camera" | "screen") => MediaStream | null = () => null;
  frames = true;
  statsNow: () => CallStats = () => ({ at: 0, mode: "sfu", tracks: [] });
  private readonly listeners = new Set<() => void>();
  private readonly videos = new Map<string, RemoteVideo>();

  constructor(public state: CallState) {}

  set(change: Partial<CallState>): void {
    this.state = { ...this.state, ...change };
    for (const listener of [...this.listeners]) listener();
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  enter(conversationId: string, media: LocalMedia): Promise<void> {
    return this.note(`enter ${conversationId} ${media.audio !== null} ${media.video !== null}`);
  }
  join(callId: string): Promise<void> {
    return this.note(`join ${callId}`);
  }
  setMicrophone(on: boolean): Promise<void> {
    return this.note(`microphone ${on}`);
  }
  setCamera(on: boolean): Promise<void> {
    return this.note(`camera ${on}`);
  }
  shareScreen(on: boolean): Promise<void> {
    return this.note(`screen ${on}`);
  }
  useMicrophone(deviceId: string): Promise<void> {
    return this.note(`use microphone ${deviceId}`);
  }
  useCamera(deviceId: string): Promise<void> {
    return this.note(`use camera ${deviceId}`);
  }
  watch(visible: ReadonlySet<string>): void {
    this.watched = visible;
  }
  video(participantId: string, source: "camera" | "screen"): RemoteVideo {
    const key = `${participantId}/${source}`;
    const known = this.videos.get(key);
    if (known !== undefined) return known;
    const made: RemoteVideo = {
      hasFrame: this.frames,
      subscribe: () => () => undefined,
      attach: (element) => {
        element.srcObject = this.streamOf(participantId, source);
        return () => {
          element.srcObject = null;
        };
      },
    };
    this.videos.set(key, made);
    return made;
  }
  retry(): Promise<void> {
    return this.note("retry");
  }
  stats(): Promise<CallStats> {
    return Promise.resolve(this.statsNow());
  }
  resumeAudio(): Promise<void> {
    return Promise.resolve();
  }
  setVolume(): void {
    this.asked.push("volume");
  }
  leave(): Promise<void> {
    return this.note("leave");
  }
  close(): void {
    this.asked.push("close");
  }

  private note(what: string): Promise<void> {
    this.asked.push(what);
    return this.answer();
  }
}
