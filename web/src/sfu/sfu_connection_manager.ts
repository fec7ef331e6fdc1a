/**
 * The path through the media server: device, a transport for each direction, producers, consumers, and the socket that
 * reports what happens in the room.
 *
 * Reaches the state that is wanted by comparing it with what there is: sources to send, producers to receive, tiles that
 * are visible. When the place on the media server is lost, it reports that once; building another is the owner's part.
 */
import { Device, type types } from "mediasoup-client";
import type { Source } from "../call/model";
import type { RemoteTrack } from "../media/arrival";
import { SOURCES, kindOf, sourceOf, type LocalTrack, type LocalTracks } from "../media/source";
import { RefusedError, textOf, UnreachableError } from "../wire/errors";
import type { RemoteProducer } from "../wire/gateway";
import type { ConsumeBatchData, ConsumerData, JoinData, JoinRoomAnswer } from "../wire/media_server";
import { MediaRoom, type RoomEvents } from "./media_room";

export interface SFUOptions {
  readonly url: string;
  readonly token: string;
  readonly callId: string;
  readonly participantId: string;
  readonly rtpCapabilities: Readonly<Record<string, unknown>>;
  readonly producers: readonly RemoteProducer[];
  readonly iceServers: readonly RTCIceServer[];
  readonly iceTransportPolicy?: RTCIceTransportPolicy | undefined;
  readonly tracks: LocalTracks;
  /** Connected and ready, but nothing flows before `activate`. */
  readonly paused: boolean;
  /** Participants whose video is visible; null for all. */
  readonly visible: ReadonlySet<string> | null;
  readonly freshToken: () => Promise<string>;
  readonly onTrack: (track: RemoteTrack) => void;
  readonly onTrackEnded: (track: RemoteTrack) => void;
  /** The place on the media server is gone: the room, the session, or the connection beyond repair. */
  readonly onLost: (reason: string) => void;
  readonly onState: (connected: boolean) => void;
  readonly log: (line: string) => void;
}

interface Sending {
  readonly producer: types.Producer;
  flowing: boolean;
}
interface Receiving extends RemoteTrack {
  readonly consumer: types.Consumer;
  flowing: boolean;
}
type Direction = "send" | "recv";

const GONE = new Set(["ROOM_NOT_FOUND", "TRANSPORT_NOT_FOUND", "PARTICIPANT_NOT_FOUND", "WORKER_DIED", "KICKED"]);
const RESTART_AFTER_MS = 1500;
const RESTART_EVERY_MS = 3000;
const RETRY_MS = 1000;

export class SFUConnectionManager {
  readonly #options: SFUOptions;
  readonly #room: MediaRoom;
  readonly #abort = new AbortController();
  #device: types.Device | null = null;
  #transports: Partial<Record<Direction, types.Transport>> = {};
  #restarts: Partial<Record<Direction, ReturnType<typeof setTimeout>>> = {};
  #tracks: LocalTracks;
  #live: boolean;
  #visible: ReadonlySet<string> | null;
  readonly #announced = new Map<string, RemoteProducer>();
  readonly #sending = new Map<Source, Sending>();
  readonly #receiving = new Map<string, Receiving>();
  readonly #refused = new Set<string>();
  #sendQueue: Promise<void> = Promise.resolve();
  #receiveRun: Promise<void> | null = null;
  #receiveAgain = false;
  #lost = false;
  #opened = false;

  constructor(options: SFUOptions) {
    this.#options = options;
    this.#tracks = options.tracks;
    this.#live = !options.paused;
    this.#visible = options.visible;
    const events: RoomEvents = {
      announced: (producer) => this.announce(producer),
      replayed: (ids, answer) => this.#resync(ids, answer),
      closed: (producerId) => this.retire(producerId),
      transportState: (transportId, state) => this.#serverSaw(transportId, state),
      lost: (reason) => this.#loses(reason),
    };
    this.#room = new MediaRoom({ ...options, signal: this.#abort.signal }, events);
    for (const producer of options.producers) this.#announced.set(producer.producerId, producer);
  }

  get closed(): boolean {
    return this.#abort.signal.aborted;
  }

  /** Ids that a confirmation names. */
  get ids(): {
    readonly sfuSendTransportId: string | null;
    readonly sfuRecvTransportId: string | null;
    readonly producerIds: { audio: string | null; video: string | null; screen: string | null };
  } {
    const id = (source: Source) => this.#sending.get(source)?.producer.id ?? null;
    return {
      sfuSendTransportId: this.#transports.send?.id ?? null,
      sfuRecvTransportId: this.#transports.recv?.id ?? null,
      producerIds: { audio: id("microphone"), video: id("camera"), screen: id("screen") },
    };
  }

  /** Build the path: resolves when own tracks are produced and known producers consumed. */
  async open(): Promise<void> {
    const device = await Device.factory();
    await device.load({ routerRtpCapabilities: this.#options.rtpCapabilities });
    this.#abort.signal.throwIfAborted();
    this.#device = device;
    const joined = await this.#room.request<JoinData>(
      "POST /api/rooms/{callId}/join",
      {},
      {
        participantId: this.#options.participantId,
        rtpCapabilities: device.recvRtpCapabilities,
      },
    );
    this.#abort.signal.throwIfAborted();
    this.#transports = {
      send: this.#connect(device, "send", joined.sendTransport),
      recv: this.#connect(device, "recv", joined.recvTransport),
    };
    for (const one of joined.producers) this.#announced.set(one.producerId, { ...one, callId: this.#options.callId });
    this.#room.open();
    await Promise.all([this.#send(), this.#receive()]);
    this.#abort.signal.throwIfAborted();
    this.#opened = true;
  }

  /** Let media flow on a path that was opened paused. */
  async activate(): Promise<void> {
    if (!this.#live) {
      this.#live = true;
      for (const one of this.#receiving.values()) this.#options.onTrack(one);
    }
    await Promise.all([this.#send(), this.#receive()]);
  }

  /** Send these tracks from now on. */
  async setTracks(tracks: LocalTracks): Promise<void> {
    this.#tracks = tracks;
    await this.#send();
  }

  /** A participant sends a track. May be said twice. */
  announce(producer: RemoteProducer): void {
    if (producer.participantId === this.#options.participantId) return;
    this.#announced.set(producer.producerId, producer);
    void this.#receive();
  }

  /** A track has ended. */
  retire(producerId: string): void {
    this.#announced.delete(producerId);
    this.#refused.delete(producerId);
    this.#stop(producerId);
  }

  /** A participant has left: what they sent has ended, whether or not each track was reported. */
  forget(participantId: string): void {
    for (const one of [...this.#announced.values()])
      if (one.participantId === participantId) this.retire(one.producerId);
  }

  /** Receive video of these participants only; null for all. */
  watch(visible: ReadonlySet<string> | null): void {
    this.#visible = visible;
    void this.#receive();
  }

  /** A fresh token of the media server. */
  async renew(token: string): Promise<void> {
    await this.#room.renew(token);
  }

  /** Tracks that are being received. */
  get remoteTracks(): readonly RemoteTrack[] {
    return [...this.#receiving.values()];
  }

  /** Of the producers that `which` names and that should flow: the tracks, and how many are not consumed yet. */
  awaited(which: (producerId: string) => boolean): {
    readonly tracks: readonly RemoteTrack[];
    readonly unconsumed: number;
  } {
    const announced = [...this.#announced.values()].filter(
      (one) => which(one.producerId) && this.#wanted(one) && !this.#refused.has(one.producerId),
    );
    const tracks = announced.flatMap((one) => this.#receiving.get(one.producerId) ?? []);
    return { tracks, unconsumed: announced.length - tracks.length };
  }

  /** Whether every transport that has something to carry is connected. */
  get connected(): boolean {
    const { send, recv } = this.#transports;
    if (!send || !recv || !this.#opened) return false;
    const idle = { send: this.#sending.size === 0, recv: this.#receiving.size === 0 };
    return (idle.send || send.connectionState === "connected") && (idle.recv || recv.connectionState === "connected");
  }

  /** Whether `open` has done its work. */
  get opened(): boolean {
    return this.#opened;
  }

  /** The statistics of what is received. */
  async inbound(): Promise<unknown[]> {
    const transport = this.#transports.recv;
    return transport && !transport.closed
      ? [...((await transport.getStats()) as ReadonlyMap<string, unknown>).values()]
      : [];
  }

  /** Reports of both transports, while there are any. */
  async reports(): Promise<readonly { readonly direction: Direction; readonly report: RTCStatsReport }[]> {
    const found = [];
    for (const direction of ["send", "recv"] as const) {
      const transport = this.#transports[direction];
      if (transport && !transport.closed) found.push({ direction, report: await transport.getStats() });
    }
    return found;
  }

  sourceOfTrack(trackId: string): Source | null {
    return SOURCES.find((source) => this.#tracks[source].track?.id === trackId) ?? null;
  }

  /** Negotiate new ICE credentials: the network of this page has changed. */
  async restartIce(): Promise<void> {
    await Promise.all((["send", "recv"] as const).map((direction) => this.#restart(direction)));
  }

  /** Wait until the sending transport is connected; false when that failed or took too long. */
  async connectedWithin(ms: number): Promise<boolean> {
    const transport = this.#transports.send;
    if (!transport) return false;
    if (this.#sending.size === 0) return true; // nothing to send: it connects with the first track
    return new Promise((done) => {
      const judge = () => {
        if (transport.connectionState === "connected") done(true);
        else if (transport.closed || transport.connectionState === "failed") done(false);
      };
      transport.on("connectionstatechange", judge);
      this.#abort.signal.addEventListener("abort", () => done(false));
      setTimeout(() => done(transport.connectionState === "connected"), ms);
      judge();
    });
  }

  /** Leave the room. Idempotent; nothing is reported any more. */
  close(): void {
    if (this.closed) return;
    this.#abort.abort();
    for (const timer of Object.values(this.#restarts)) clearTimeout(timer);
    this.#transports.send?.close();
    this.#transports.recv?.close();
    this.#room.close();
  }

  #connect(device: types.Device, direction: Direction, data: JoinData["sendTransport"]): types.Transport {
    const options = {
      ...data,
      iceServers: [...this.#options.iceServers],
      ...(this.#options.iceTransportPolicy ? { iceTransportPolicy: this.#options.iceTransportPolicy } : {}),
    } as unknown as types.TransportOptions;
    const transport = direction === "send" ? device.createSendTransport(options) : device.createRecvTransport(options);
    const ids = { transportId: transport.id };
    transport.on("connect", ({ dtlsParameters }, done, failed) => {
      this.#room
        .request("POST /api/rooms/{callId}/transports/{transportId}/connect", ids, { dtlsParameters })
        .then(() => done(), failed);
    });
    transport.on("produce", ({ kind, rtpParameters, appData }, done, failed) => {
      const { paused, ...rest } = appData;
      this.#room
        .request<{ producerId: string }>("POST /api/rooms/{callId}/transports/{transportId}/produce", ids, {
          participantId: this.#options.participantId,
          kind,
          rtpParameters,
          appData: rest,
          paused,
        })
        .then(({ producerId }) => done({ id: producerId }), failed);
    });
    transport.on("connectionstatechange", (state) => this.#transportIs(direction, state));
    return transport;
  }

  // ---- sending

  #send(): Promise<void> {
    const run = this.#sendQueue.then(async () => {
      for (const source of SOURCES) if (!this.closed) await this.#sendSource(source);
    });
    this.#sendQueue = run.catch(() => undefined);
    return run.catch((error: unknown) => this.#failed("produce", error));
  }

  async #sendSource(source: Source): Promise<void> {
    const transport = this.#transports.send;
    if (!transport || transport.closed) return;
    const wish = this.#tracks[source];
    const sending = this.#sending.get(source);
    if (!wish.track || wish.track.readyState === "ended") {
      if (sending) await this.#stopSending(source, sending);
    } else if (!sending) {
      await this.#produce(transport, source, wish.track, wish);
    } else {
      if (sending.producer.track !== wish.track) await sending.producer.replaceTrack({ track: wish.track });
      await this.#letFlow(source, sending);
    }
  }

  async #produce(transport: types.Transport, source: Source, track: MediaStreamTrack, wish: LocalTrack): Promise<void> {
    if (!this.#device?.canProduce(kindOf(source))) return;
    const flowing = this.#live && !wish.muted;
    const producer = await transport.produce({
      track,
      // The track goes on by the other path when the call changes back.
      stopTracks: false,
      disableTrackOnPause: false,
      appData: { source, paused: !flowing },
    });
    const sending = { producer, flowing };
    this.#sending.set(source, sending);
    if (!flowing) await setActive(producer, false);
    await this.#letFlow(source, sending);
  }

  /** Pause or resume at the server and stop or start the packets, where that changed. */
  async #letFlow(source: Source, sending: Sending): Promise<void> {
    const flowing = this.#live && !this.#tracks[source].muted;
    if (sending.flowing === flowing) return;
    sending.flowing = flowing;
    await setActive(sending.producer, flowing);
    const route = flowing
      ? "POST /api/rooms/{callId}/producers/{producerId}/resume"
      : "POST /api/rooms/{callId}/producers/{producerId}/pause";
    await this.#room.request(route, { producerId: sending.producer.id });
  }

  async #stopSending(source: Source, sending: Sending): Promise<void> {
    this.#sending.delete(source);
    sending.producer.close();
    await this.#room.request("DELETE /api/rooms/{callId}/producers/{producerId}", { producerId: sending.producer.id });
  }

  // ---- receiving

  #wanted(producer: RemoteProducer): boolean {
    return producer.kind === "audio" || this.#visible === null || this.#visible.has(producer.participantId);
  }

  /** Compare what is received with what is wanted until both are equal; one run at a time. */
  #receive(): Promise<void> {
    this.#receiveAgain = true;
    this.#receiveRun ??= this.#receiveAll()
      .catch((error: unknown) => {
        this.#receiveAgain = true;
        this.#failed("consume", error);
      })
      .finally(() => {
        this.#receiveRun = null;
        if (this.#receiveAgain && !this.closed && !this.#lost) setTimeout(() => void this.#receive(), RETRY_MS);
      });
    return this.#receiveRun;
  }

  /** Ends when nothing is to be done, or with `#receiveAgain` set when something has to be tried again later. */
  async #receiveAll(): Promise<void> {
    while (this.#receiveAgain && !this.closed) {
      this.#receiveAgain = false;
      const transport = this.#transports.recv;
      if (!transport || transport.closed) return;
      const missing = this.#missing();
      if (missing.length > 0) await this.#consume(transport, missing.slice(0, 512));
      await this.#holdOrResume();
      const left = new Set(this.#missing().map((one) => one.producerId));
      if (missing.some((one) => left.has(one.producerId))) {
        this.#receiveAgain = true;
        return;
      }
    }
  }

  #missing(): readonly RemoteProducer[] {
    return [...this.#announced.values()].filter(
      (one) =>
        one.participantId !== this.#options.participantId &&
        this.#wanted(one) &&
        !this.#receiving.has(one.producerId) &&
        !this.#refused.has(one.producerId),
    );
  }

  async #consume(transport: types.Transport, missing: readonly RemoteProducer[]): Promise<void> {
    const answer = await this.#room.request<ConsumeBatchData>(
      "POST /api/rooms/{callId}/consume",
      {},
      {
        participantId: this.#options.participantId,
        producerIds: missing.map((one) => one.producerId),
        rtpCapabilities: this.#device?.recvRtpCapabilities,
      },
    );
    const made = answer.consumers.map(async (one) => {
      if ("error" in one) await this.#notConsumed(one.producerId, new RefusedError("consume", one.error));
      else await this.#take(transport, one);
    });
    await Promise.all(made);
  }

  async #take(transport: types.Transport, data: ConsumerData): Promise<void> {
    const source = sourceOf(data.kind, data.appData);
    const consumer = await transport.consume({
      id: data.consumerId,
      producerId: data.producerId,
      kind: data.kind,
      rtpParameters: data.rtpParameters as types.RtpParameters,
      // One stream id for both keeps a participant's lips and voice together.
      streamId: source === "screen" ? `${data.participantId}-screen` : data.participantId,
    });
    const receiving = { participantId: data.participantId, source, track: consumer.track, consumer, flowing: false };
    if (this.closed || !this.#announced.has(data.producerId)) {
      consumer.close();
      return;
    }
    this.#receiving.set(data.producerId, receiving);
    // A path that is only held ready has nothing to show yet.
    if (this.#live) this.#options.onTrack(receiving);
  }

  async #notConsumed(producerId: string, error: RefusedError): Promise<void> {
    const existing = error.details["consumerId"];
    if (error.code === "CONSUMER_ALREADY_EXISTS" && typeof existing === "string") {
      await this.#room.request("DELETE /api/rooms/{callId}/consumers/{consumerId}", { consumerId: existing });
    } else if (error.code === "PRODUCER_NOT_FOUND") {
      this.#announced.delete(producerId);
    } else {
      this.#refused.add(producerId);
      this.#options.log(`producer ${producerId}: ${textOf(error)}`);
    }
  }

  async #holdOrResume(): Promise<void> {
    const changed = { resume: [] as Receiving[], pause: [] as Receiving[] };
    for (const one of this.#receiving.values()) {
      const producer = this.#announced.get(one.consumer.producerId);
      const flowing = this.#live && producer !== undefined && this.#wanted(producer);
      if (flowing !== one.flowing) changed[flowing ? "resume" : "pause"].push(one);
    }
    for (const action of ["resume", "pause"] as const) {
      if (changed[action].length === 0) continue;
      const consumerIds = changed[action].map((one) => one.consumer.id);
      await this.#room.request(`POST /api/rooms/{callId}/consumers/${action}`, {}, { consumerIds });
      for (const one of changed[action]) one.flowing = action === "resume";
    }
  }

  #stop(producerId: string): void {
    const receiving = this.#receiving.get(producerId);
    if (!receiving) return;
    this.#receiving.delete(producerId);
    receiving.consumer.close();
    this.#options.onTrackEnded(receiving);
  }

  // ---- breaks

  /** After the socket came back: drop producers that were not named, take up what is missing. */
  #resync(producerIds: ReadonlySet<string>, answer: JoinRoomAnswer): void {
    for (const id of [...this.#announced.keys()]) if (!producerIds.has(id)) this.retire(id);
    const owned = new Set(answer.owned?.consumers.map((one) => one.consumerId) ?? []);
    for (const [id, one] of this.#receiving) if (!owned.has(one.consumer.id)) this.#stop(id);
    const producers = new Set(answer.owned?.producers.map((one) => one.producerId) ?? []);
    for (const [source, one] of this.#sending) {
      if (producers.has(one.producer.id)) continue;
      this.#sending.delete(source);
      one.producer.close();
    }
    void this.#send();
    void this.#receive();
  }

  #serverSaw(transportId: string, state: string): void {
    if (state !== "disconnected") return;
    for (const direction of ["send", "recv"] as const) {
      if (this.#transports[direction]?.id === transportId) void this.#restart(direction);
    }
  }

  #transportIs(direction: Direction, state: types.ConnectionState): void {
    clearTimeout(this.#restarts[direction]);
    if (this.closed) return;
    if (state === "disconnected" || state === "failed") {
      this.#options.onState(false);
      const wait = state === "failed" ? 0 : RESTART_AFTER_MS;
      this.#restarts[direction] = setTimeout(() => void this.#restart(direction), wait);
    } else if (state === "connected") {
      this.#options.onState(true);
    }
  }

  async #restart(direction: Direction): Promise<void> {
    const transport = this.#transports[direction];
    clearTimeout(this.#restarts[direction]);
    if (!transport || this.closed || transport.connectionState === "new") return;
    this.#restarts[direction] = setTimeout(() => {
      if (transport.connectionState !== "connected") void this.#restart(direction);
    }, RESTART_EVERY_MS);
    try {
      const answer = await this.#room.request<{ iceParameters: types.IceParameters }>(
        "POST /api/rooms/{callId}/transports/{transportId}/restart-ice",
        { transportId: transport.id },
      );
      await transport.restartIce({ iceParameters: answer.iceParameters });
    } catch (error) {
      this.#failed("restart-ice", error);
    }
  }

  #failed(what: string, error: unknown): void {
    if (this.closed) return;
    this.#options.log(`${what}: ${textOf(error)}`);
    if (error instanceof RefusedError && GONE.has(error.code)) this.#loses(`${what}: ${error.code}`);
    else if (!(error instanceof UnreachableError || error instanceof RefusedError))
      this.#loses(`${what}: ${textOf(error)}`);
  }

  #loses(reason: string): void {
    if (this.closed || this.#lost) return;
    this.#lost = true;
    this.#options.onLost(reason);
  }
}

/** Stop or start a producer's packets without a negotiation and without touching its track. */
async function setActive(producer: types.Producer, active: boolean): Promise<void> {
  const sender = producer.rtpSender;
  if (!sender || producer.closed) return;
  const parameters = sender.getParameters();
  for (const encoding of parameters.encodings) encoding.active = active;
  await sender.setParameters(parameters);
}
