/**
 * The direct path to one other participant. Negotiation is "perfect negotiation" of the WebRTC specification; who makes
 * the first offer the gateway says, and that side is the impolite one.
 *
 * The first audio section is the microphone, the first video section the camera, the second one the screen. Sections
 * stay when a source is off: switching it on again needs no negotiation.
 */
import type { Source } from "../call/model";
import type { RemoteTrack } from "../media/arrival";
import { SOURCES, kindOf, type LocalTracks } from "../media/source";
import { RefusedError, textOf } from "../wire/errors";
import type { RelayedSignal, Signal } from "../wire/gateway";
import { fragmentOfCandidate, fragmentsOf, judgeOffer, sessionOf } from "./description";

export interface P2POptions {
  readonly peer: string;
  /** Whether this side offers first. */
  readonly offers: boolean;
  readonly iceServers: readonly RTCIceServer[];
  readonly iceTransportPolicy?: RTCIceTransportPolicy | undefined;
  readonly tracks: LocalTracks;
  readonly send: (signal: Signal) => Promise<void>;
  readonly onTrack: (track: RemoteTrack) => void;
  readonly onState: (connected: boolean) => void;
  /** The peer began anew, or the connection is beyond repair: only a new one helps. */
  readonly onLost: (reason: string) => void;
  readonly log: (line: string) => void;
}

const RESTART_AFTER_MS = 1500;
const GIVE_UP_AFTER_MS = 12_000;
const TARGET_RETRIES = 8;
const TARGET_RETRY_MS = 250;

export class P2PConnection {
  readonly peer: string;
  readonly #options: P2POptions;
  readonly #pc: RTCPeerConnection;
  readonly #transceivers = new Map<Source, RTCRtpTransceiver>();
  readonly #remote = new Map<Source, RemoteTrack>();
  #tracks: LocalTracks;
  #session: string | null = null;
  #makingOffer = false;
  #waiting: RTCIceCandidateInit[] = [];
  #order: Promise<void> = Promise.resolve();
  #restart: ReturnType<typeof setTimeout> | undefined;
  #giveUp: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(options: P2POptions) {
    this.#options = options;
    this.peer = options.peer;
    this.#tracks = options.tracks;
    this.#pc = new RTCPeerConnection({
      iceServers: [...options.iceServers],
      bundlePolicy: "max-bundle",
      ...(options.iceTransportPolicy ? { iceTransportPolicy: options.iceTransportPolicy } : {}),
    });
    this.#pc.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate) this.#sendCandidate(candidate);
    };
    this.#pc.ontrack = () => this.#collect();
    this.#pc.onconnectionstatechange = () => this.#stateChanged();
    if (options.offers) this.#pc.onnegotiationneeded = () => this.#queue("offer", () => this.#offer());
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Whether this side offers first. */
  get offers(): boolean {
    return this.#options.offers;
  }

  get connected(): boolean {
    return this.#pc.connectionState === "connected";
  }

  get remoteTracks(): readonly RemoteTrack[] {
    return [...this.#remote.values()];
  }

  /** Make the first offer. */
  begin(): void {
    for (const source of ["microphone", "camera"] as const) this.#section(source);
    if (this.#tracks.screen.track) this.#section("screen");
  }

  /** Whether this offer belongs to this connection. */
  judge(sdp: string): "anew" | "renegotiate" | "ignore" {
    const colliding = this.#makingOffer || this.#pc.signalingState !== "stable";
    return judgeOffer({ session: this.#session, polite: !this.#options.offers, colliding }, sdp);
  }

  /** Take what the peer sent; in the order in which it came. */
  take(signal: RelayedSignal): Promise<void> {
    return this.#queue(signal.type, async () => {
      if (signal.type === "ice-candidate") await this.#takeCandidate(signal);
      else if (signal.sdp !== undefined) await this.#takeDescription({ type: signal.type, sdp: signal.sdp });
    });
  }

  /** Send these tracks from now on. */
  setTracks(tracks: LocalTracks): Promise<void> {
    this.#tracks = tracks;
    return this.#queue("tracks", async () => {
      if (tracks.screen.track && !this.#transceivers.has("screen") && this.#session) this.#section("screen");
      await this.#fill();
    });
  }

  restartIce(): void {
    if (!this.#closed && this.#options.offers) this.#pc.restartIce();
  }

  /** The statistics of what is received. */
  async inbound(): Promise<unknown[]> {
    return this.#closed ? [] : [...((await this.#pc.getStats()) as ReadonlyMap<string, unknown>).values()];
  }

  report(): Promise<RTCStatsReport> {
    return this.#pc.getStats();
  }

  sourceOfTrack(trackId: string): Source | null {
    return SOURCES.find((source) => this.#tracks[source].track?.id === trackId) ?? null;
  }

  /** Idempotent; nothing is reported any more. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#restart);
    clearTimeout(this.#giveUp);
    this.#pc.close();
  }

  #section(source: Source): void {
    const track = this.#tracks[source].track;
    const init: RTCRtpTransceiverInit = { direction: "sendrecv", ...(track ? { streams: [streamOf(source)] } : {}) };
    this.#transceivers.set(source, this.#pc.addTransceiver(track ?? kindOf(source), init));
    this.#pc.onnegotiationneeded ??= () => this.#queue("offer", () => this.#offer());
  }

  async #offer(): Promise<void> {
    if (this.#pc.signalingState !== "stable") return; // what is needed goes into the next one
    try {
      this.#makingOffer = true;
      await this.#pc.setLocalDescription();
      await this.#sendDescription();
    } finally {
      this.#makingOffer = false;
    }
  }

  async #takeDescription(description: { type: "offer" | "answer"; sdp: string }): Promise<void> {
    const session = sessionOf(description.sdp);
    if (description.type === "answer") {
      if (this.#pc.signalingState !== "have-local-offer") return;
      if (this.#session !== null && this.#session !== session) {
        this.#options.onLost("the peer began anew");
        return;
      }
    }
    await this.#pc.setRemoteDescription(description);
    this.#session = session;
    if (description.type === "offer") {
      this.#adopt();
      await this.#fill();
      await this.#pc.setLocalDescription();
      await this.#sendDescription();
    }
    // Shared before the first negotiation was over.
    if (this.#tracks.screen.track && !this.#transceivers.has("screen")) this.#section("screen");
    this.#collect();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const candidate of waiting) await this.#addCandidate(candidate);
  }

  /** Of an offer: which section is whose, and that this side sends in each as well. */
  #adopt(): void {
    for (const [source, transceiver] of this.#sections()) {
      const replaced = this.#transceivers.get(source);
      // Both sides added this section at once; the peer's counts.
      if (replaced && replaced !== transceiver && replaced.mid === null) replaced.stop();
      this.#transceivers.set(source, transceiver);
      transceiver.direction = "sendrecv";
      transceiver.sender.setStreams(streamOf(source));
    }
  }

  /** The sections in the order of the description, by source. */
  #sections(): Map<Source, RTCRtpTransceiver> {
    const found = new Map<Source, RTCRtpTransceiver>();
    const order = this.#pc.getTransceivers().filter((one) => one.mid !== null && one.currentDirection !== "stopped");
    for (const transceiver of order) {
      const kind = transceiver.receiver.track.kind;
      const source = SOURCES.find((one) => kindOf(one) === kind && !found.has(one));
      if (source) found.set(source, transceiver);
    }
    return found;
  }

  async #fill(): Promise<void> {
    for (const [source, transceiver] of this.#transceivers) {
      const { track } = this.#tracks[source];
      if (transceiver.sender.track !== track) await transceiver.sender.replaceTrack(track);
    }
  }

  #collect(): void {
    for (const [source, transceiver] of this.#sections()) {
      const { track } = transceiver.receiver;
      if (this.#remote.get(source)?.track === track) continue;
      const remote = { participantId: this.peer, source, track };
      this.#remote.set(source, remote);
      this.#options.onTrack(remote);
    }
  }

  async #takeCandidate(signal: RelayedSignal): Promise<void> {
    const { candidate } = signal;
    if (candidate === undefined || candidate === "") return;
    const init: RTCIceCandidateInit =
      typeof candidate === "string"
        ? {
            candidate,
            sdpMid: signal.sdpMid ?? null,
            sdpMLineIndex: signal.sdpMLineIndex ?? (signal.sdpMid === undefined ? 0 : null),
          }
        : { ...candidate };
    if (init.candidate === "") return;
    if (this.#pc.remoteDescription) await this.#addCandidate(init);
    else this.#waiting.push(init);
  }

  async #addCandidate(candidate: RTCIceCandidateInit): Promise<void> {
    try {
      await this.#pc.addIceCandidate(candidate);
    } catch (error) {
      // One of an older negotiation: its credentials are not those of the description any more.
      const fragment = candidate.usernameFragment ?? fragmentOfCandidate(candidate.candidate ?? "");
      const known = fragmentsOf(this.#pc.remoteDescription?.sdp ?? "");
      if (!fragment || known.has(fragment)) this.#options.log(`candidate of ${this.peer}: ${textOf(error)}`);
    }
  }

  #sendDescription(): Promise<void> {
    const local = this.#pc.localDescription;
    if (!local || (local.type !== "offer" && local.type !== "answer")) return Promise.resolve();
    return this.#deliver({ type: local.type, to: this.peer, sdp: local.sdp });
  }

  #sendCandidate(candidate: RTCIceCandidate): void {
    const { candidate: line, sdpMid, sdpMLineIndex, usernameFragment } = candidate.toJSON();
    const body = { candidate: line ?? "", sdpMid: sdpMid ?? null, sdpMLineIndex: sdpMLineIndex ?? null };
    this.#deliver({
      type: "ice-candidate",
      to: this.peer,
      candidate: { ...body, ...(usernameFragment ? { usernameFragment } : {}) },
    }).catch((error: unknown) => this.#options.log(`candidate: ${textOf(error)}`));
  }

  /** A peer whose socket is just coming back is tried again for two seconds. */
  async #deliver(signal: Signal): Promise<void> {
    for (let attempt = 1; !this.#closed; attempt += 1) {
      try {
        await this.#options.send(signal);
        return;
      } catch (error) {
        const away = error instanceof RefusedError && error.code === "TARGET_NOT_FOUND";
        if (!away || attempt >= TARGET_RETRIES) throw error;
        await new Promise((done) => setTimeout(done, TARGET_RETRY_MS));
      }
    }
  }

  #stateChanged(): void {
    clearTimeout(this.#restart);
    const state = this.#pc.connectionState;
    if (this.#closed) return;
    if (state === "connected") {
      clearTimeout(this.#giveUp);
      this.#giveUp = undefined;
      this.#options.onState(true);
    } else if (state === "failed" || state === "disconnected") {
      this.#options.onState(false);
      this.#restart = setTimeout(() => this.restartIce(), state === "failed" ? 0 : RESTART_AFTER_MS);
      this.#giveUp ??= setTimeout(() => {
        this.#giveUp = undefined;
        if (!this.connected) this.#options.onLost("ICE failed");
      }, GIVE_UP_AFTER_MS);
    }
  }

  #queue(what: string, act: () => Promise<void>): Promise<void> {
    const run = this.#order.then(async () => {
      if (!this.#closed) await act();
    });
    this.#order = run.catch((error: unknown) => {
      if (!this.#closed) this.#options.log(`${what} with ${this.peer}: ${textOf(error)}`);
    });
    return this.#order;
  }
}

const streams = new Map<string, MediaStream>();

/** One stream for microphone and camera keeps lips and voice together; the screen has its own. */
function streamOf(source: Source): MediaStream {
  const name = source === "screen" ? "screen" : "main";
  const stream = streams.get(name) ?? new MediaStream();
  streams.set(name, stream);
  return stream;
}
