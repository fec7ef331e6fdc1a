/**
 * The paths that media takes: the direct one, the one through the media server, and one that is prepared. Builds what
 * the gateway orders beside what flows, confirms when media has arrived, and closes the old path when all have
 * confirmed.
 *
 * The rules are in `transition`; this is where they act on connections.
 */
import { arrived, type RemoteTrack } from "../media/arrival";
import type { RemoteMedia } from "../media/remote_media";
import type { LocalTracks } from "../media/source";
import { P2PConnection } from "../p2p/p2p_connection";
import { SFUConnectionManager } from "../sfu/sfu_connection_manager";
import { textOf } from "../wire/errors";
import type {
  ClientEvents,
  JoinAnswer,
  ModeSwitch,
  ModeSwitched,
  Prewarm,
  RelayedSignal,
  RemoteProducer,
  Signal,
} from "../wire/gateway";
import type { Mode, ParticipantState } from "./model";
import {
  closedBy,
  isLate,
  judgeArrival,
  patienceMs,
  planJoin,
  planRejoin,
  planSwitch,
  type Order,
  type Plan,
} from "./transition";

export type Confirmation = ClientEvents["call:mode-switched"]["payload"];

export interface PathsOptions {
  readonly callId: string;
  readonly self: string;
  readonly media: RemoteMedia;
  readonly iceTransportPolicy?: RTCIceTransportPolicy | undefined;
  readonly tracks: () => LocalTracks;
  readonly participant: (id: string) => ParticipantState | undefined;
  readonly visible: () => ReadonlySet<string> | null;
  readonly signal: (signal: Signal) => Promise<void>;
  readonly confirm: (confirmation: Confirmation) => Promise<void>;
  readonly sfuReady: (error: string | null) => Promise<void>;
  readonly mediaToken: () => Promise<string>;
  /** Media of a participant has arrived, or its connection was lost. */
  readonly onConnection: (participantId: string, connected: boolean) => void;
  /** The path that counts is lost, and only the gateway knows what is to be built. */
  readonly onLost: (reason: string) => void;
  readonly onDirectFailed: (reason: string) => void;
  readonly log: (line: string) => void;
}

type Room = Pick<
  JoinAnswer,
  "rtpCapabilities" | "mediaServerConfig" | "mediaToken" | "mediaServerUrl" | "producers" | "iceServers"
>;

interface Attempt {
  readonly mode: Mode;
  readonly epoch: number;
  readonly abort: AbortController;
  building: boolean;
  /** Why the path that is being built is lost. */
  lost: string | null;
}

const POLL_MS = 100;
const CALM_POLL_MS = 500;
const WARM_WITHIN_MS = 8000;

export class MediaPaths {
  readonly #options: PathsOptions;
  readonly #arrived = new WeakSet<MediaStreamTrack>();
  readonly #rooms = new Map<SFUConnectionManager, string>();
  #iceServers: RTCIceServer[] = [];
  #direct: P2PConnection | null = null;
  #server: SFUConnectionManager | null = null;
  #warm: SFUConnectionManager | null = null;
  #attempt: Attempt | null = null;
  #unconfirmed: Confirmation | null = null;
  #known = { epoch: -1, phase: "p2p" };
  #watching: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(options: PathsOptions) {
    this.#options = options;
    this.#watch();
  }

  get direct(): P2PConnection | null {
    return this.#direct;
  }
  get server(): SFUConnectionManager | null {
    return this.#server;
  }
  get warm(): SFUConnectionManager | null {
    return this.#warm;
  }

  // ---- what the gateway says

  /** Answer to `call:join` or `call:initiate`. */
  joined(answer: JoinAnswer): void {
    this.#iceServers = iceServersOf(answer);
    this.#known = { epoch: answer.epoch, phase: answer.phase };
    const plan = planJoin(orderOf(answer, answer.mode));
    if (plan) this.#follow(plan, answer.mode, answer, answer.switchDeadline, answer.mode === "sfu" || running(answer));
  }

  /** Answer to `call:rejoin`: media went on; build what is missing. */
  rejoined(answer: JoinAnswer): void {
    this.#iceServers = iceServersOf(answer);
    const { plan, close } = planRejoin(orderOf(answer, answer.mode), answer.phase, this.#known, this.#have());
    const same = answer.epoch === this.#known.epoch && answer.phase === this.#known.phase;
    this.#known = { epoch: answer.epoch, phase: answer.phase };
    if (same && this.#attempt?.epoch === answer.epoch) {
      this.#repeatConfirmation();
      return;
    }
    if (plan) this.#follow(plan, answer.mode, answer, answer.switchDeadline, answer.mode === "sfu" || running(answer));
    else if (same) this.#repeatConfirmation();
    if (!plan) for (const mode of close) this.#drop(mode);
  }

  /** `call:mode-switch`; false when it is late. */
  switch(order: ModeSwitch): boolean {
    if (isLate(order.epoch, this.#known.epoch)) return false;
    this.#iceServers = iceServersOf(order);
    this.#known = { epoch: order.epoch, phase: order.newMode === "sfu" ? "switching_to_sfu" : "switching_to_p2p" };
    const plan = planSwitch(orderOf(order, order.newMode), order.oldMode, this.#have());
    this.#follow(plan, order.newMode, order, order.switchDeadline, true);
    return true;
  }

  /** `call:mode-switched`: close the path that is not that of `mode`; false when it is late. */
  switched(result: ModeSwitched): boolean {
    if (isLate(result.epoch, this.#known.epoch)) return false;
    this.#known = { epoch: result.epoch, phase: result.mode };
    this.#unconfirmed = null;
    if (this.#attempt && this.#attempt.mode !== result.mode) this.#cancel();
    this.#drop(closedBy(result.mode));
    return true;
  }

  prewarm(order: Prewarm): void {
    this.#dropWarm();
    const warm = this.#manager(order, true);
    if (!warm) return;
    this.#warm = warm;
    void this.#warmUp(warm);
  }

  /** `call:participant-joined` that asks for the offer, and an order to offer anew. */
  offer(peer: string): void {
    this.#openDirect(peer, true).begin();
  }

  async signal(signal: RelayedSignal): Promise<void> {
    if (signal.type === "offer") {
      const known = this.#direct?.peer === signal.from ? this.#direct : null;
      const judged = known?.judge(signal.sdp ?? "") ?? "anew";
      if (judged === "ignore") return;
      const connection = known && judged === "renegotiate" ? known : this.#openDirect(signal.from, false);
      await connection.take(signal);
    } else if (this.#direct?.peer === signal.from) {
      await this.#direct.take(signal);
    }
  }

  produced(producer: RemoteProducer): void {
    this.#server?.announce(producer);
    this.#warm?.announce(producer);
  }

  unproduced(producerId: string): void {
    this.#server?.retire(producerId);
    this.#warm?.retire(producerId);
  }

  left(participantId: string): void {
    if (this.#direct?.peer === participantId) this.#drop("p2p");
    for (const path of [this.#server, this.#warm]) path?.forget(participantId);
  }

  // ---- what the page does

  async setTracks(tracks: LocalTracks): Promise<void> {
    await Promise.all([
      this.#direct?.setTracks(tracks),
      this.#server?.setTracks(tracks),
      this.#warm?.setTracks(tracks),
    ]);
  }

  watch(visible: ReadonlySet<string> | null): void {
    this.#server?.watch(visible);
    this.#warm?.watch(visible);
  }

  async renew(token: string): Promise<void> {
    await Promise.all([this.#server?.renew(token), this.#warm?.renew(token)]);
  }

  /** The network of this page has changed. */
  restartIce(): void {
    this.#direct?.restartIce();
    void this.#server?.restartIce();
    void this.#warm?.restartIce();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#watching);
    this.#cancel();
    this.#drop("p2p");
    this.#drop("sfu");
    this.#dropWarm();
  }

  // ---- building

  #have(): { direct: string | null; server: string | null; warm: string | null } {
    const room = (path: SFUConnectionManager | null) => (path ? (this.#rooms.get(path) ?? null) : null);
    return { direct: this.#direct?.peer ?? null, server: room(this.#server), warm: room(this.#warm) };
  }

  /** Build by the plan beside what flows; a former attempt is given up. */
  #follow(plan: Plan, mode: Mode, order: Room & { epoch: number }, deadline: number | null, confirms: boolean): void {
    this.#cancel();
    for (const one of plan.drop) this.#drop(one);
    const attempt: Attempt = { mode, epoch: order.epoch, abort: new AbortController(), building: true, lost: null };
    this.#attempt = attempt;
    void this.#build(plan, order, deadline, attempt).then((error) => {
      attempt.building = false;
      if (attempt.abort.signal.aborted || this.#closed) return;
      if (error !== null) {
        this.#options.log(`${mode}: ${error}`);
        // Outside of a transition nobody waits for a confirmation, but this page has no path.
        if (!this.#known.phase.startsWith("switching") && mode === "sfu") {
          this.#options.onLost(error);
          return;
        }
      }
      if (!confirms) return;
      const ids = mode === "sfu" && error === null ? this.#server?.ids : undefined;
      const { callId } = this.#options;
      this.#unconfirmed = {
        callId,
        mode,
        epoch: order.epoch,
        success: error === null,
        ...(error === null ? {} : { error }),
        ...ids,
      };
      this.#repeatConfirmation();
    });
  }

  /** Return why the new path does not work, or null when media has arrived by it. */
  async #build(plan: Plan, order: Room, deadline: number | null, attempt: Attempt): Promise<string | null> {
    const began = performance.now();
    const patience = patienceMs(deadline, Date.now());
    try {
      if (plan.build === "nothing") return null;
      const peer = plan.build === "server" ? (this.#direct?.peer ?? null) : plan.peer;
      if (plan.build === "server") await this.#openServer(plan.use, order, patience, attempt);
      else if (plan.offer) this.offer(plan.peer);
      if (attempt.abort.signal.aborted) return null;
      const told = new Set(order.producers.filter((one) => !one.paused).map((one) => one.producerId));
      return await this.#untilArrived(plan.build === "server" ? "sfu" : "p2p", peer, told, began, patience, attempt);
    } catch (error) {
      return textOf(error);
    }
  }

  async #openServer(use: "new" | "warm" | "existing", order: Room, patience: number, attempt: Attempt): Promise<void> {
    if (use === "existing" && this.#server) return this.#server.activate();
    if (use === "warm" && this.#warm) {
      this.#close(this.#server);
      this.#server = this.#warm;
      this.#warm = null;
      for (const one of order.producers) this.#server.announce(one);
      if (order.mediaToken) await this.#server.renew(order.mediaToken).catch(() => undefined);
      await within(this.#server.activate(), patience);
      return;
    }
    this.#dropWarm();
    this.#close(this.#server);
    const server = this.#manager(order, false);
    if (!server) throw new Error("the gateway names no media server");
    this.#server = server;
    attempt.abort.signal.addEventListener("abort", () => {
      if (!server.opened) this.#closeServer(server);
    });
    await within(server.open(), patience);
  }

  /** Wait for the media of the peer, or without one for all producers that the order names. */
  async #untilArrived(
    mode: Mode,
    peer: string | null,
    told: ReadonlySet<string>,
    began: number,
    patience: number,
    attempt: Attempt,
  ): Promise<string | null> {
    for (;;) {
      if (attempt.abort.signal.aborted || this.#closed) return null;
      if (attempt.lost !== null) return attempt.lost;
      const seen = await this.#seen(mode, peer, told);
      const verdict = judgeArrival(seen, performance.now() - began, patience);
      if (verdict === "confirm") return null;
      if (verdict === "give-up") {
        if (!seen.connected) return `ICE failed: no ${mode} connection within ${Math.round(patience)} ms`;
        return `no media by ${mode}: ${seen.arrived} of ${seen.expected} tracks within ${Math.round(patience)} ms`;
      }
      await new Promise((done) => setTimeout(done, POLL_MS));
    }
  }

  async #seen(mode: Mode, peer: string | null, told: ReadonlySet<string>) {
    await this.#lookAt(mode);
    const isHere = (track: RemoteTrack) => this.#arrived.has(track.track);
    if (mode === "sfu" && peer === null) {
      const { tracks, unconsumed } = this.#server?.awaited((id) => told.has(id)) ?? { tracks: [], unconsumed: 1 };
      const connected = this.#server?.connected ?? false;
      return { expected: tracks.length, arrived: tracks.filter(isHere).length, unconsumed, connected };
    }
    const path = mode === "sfu" ? this.#server : this.#direct;
    const wanted = this.#sendsNow(peer, mode);
    const tracks = (path?.remoteTracks ?? []).filter((one) => one.participantId === peer && wanted.has(one.source));
    const connected = path?.connected ?? false;
    return { expected: wanted.size, arrived: tracks.filter(isHere).length, unconsumed: 0, connected };
  }

  /** What a participant sends, as the gateway says; unseen video is not received through the media server. */
  #sendsNow(id: string | null, mode: Mode): ReadonlySet<string> {
    const participant = id === null ? undefined : this.#options.participant(id);
    const visible = this.#options.visible();
    const seen = mode === "p2p" || visible === null || (id !== null && visible.has(id));
    return new Set([
      ...(participant?.audioEnabled ? ["microphone"] : []),
      ...(participant?.videoEnabled && seen ? ["camera"] : []),
      ...(participant?.screenEnabled && seen ? ["screen"] : []),
    ]);
  }

  #repeatConfirmation(): void {
    const confirmation = this.#unconfirmed;
    if (!confirmation) return;
    this.#options.confirm(confirmation).then(
      () => {
        if (this.#unconfirmed === confirmation) this.#unconfirmed = null;
      },
      (error: unknown) => this.#options.log(textOf(error)),
    );
  }

  // ---- connections

  #openDirect(peer: string, offers: boolean): P2PConnection {
    const { media, signal, log, iceTransportPolicy } = this.#options;
    const old = this.#direct;
    const connection: P2PConnection = new P2PConnection({
      peer,
      offers,
      iceServers: this.#iceServers,
      iceTransportPolicy,
      tracks: this.#options.tracks(),
      send: signal,
      onTrack: (track) => media.add(connection, track),
      onState: (connected) => this.#options.onConnection(peer, connected),
      onLost: (reason) => this.#directLost(connection, reason),
      log,
    });
    this.#direct = connection;
    if (old) {
      media.closePath(old);
      old.close();
    }
    return connection;
  }

  #directLost(connection: P2PConnection, reason: string): void {
    if (connection !== this.#direct) return;
    if (this.#known.phase === "sfu") {
      this.#drop("p2p");
      return;
    }
    if (this.#known.phase === "p2p") this.#options.onDirectFailed(reason);
    if (connection.offers) this.offer(connection.peer);
  }

  #manager(order: Omit<Room, "iceServers">, paused: boolean): SFUConnectionManager | null {
    const { mediaServerUrl, mediaToken, rtpCapabilities, mediaServerConfig, producers } = order;
    if (!mediaServerUrl || !mediaToken || !rtpCapabilities || !mediaServerConfig) return null;
    const { media } = this.#options;
    const manager: SFUConnectionManager = new SFUConnectionManager({
      url: mediaServerUrl.replace(/\/$/, ""),
      token: mediaToken,
      callId: this.#options.callId,
      participantId: this.#options.self,
      rtpCapabilities,
      producers,
      iceServers: this.#iceServers,
      iceTransportPolicy: this.#options.iceTransportPolicy,
      tracks: this.#options.tracks(),
      paused,
      visible: this.#options.visible(),
      freshToken: this.#options.mediaToken,
      onTrack: (track) => media.add(manager, track),
      onTrackEnded: (track) => media.remove(manager, track),
      onLost: (reason) => this.#serverLost(manager, reason),
      onState: (connected) => {
        if (manager === this.#server && !connected) this.#options.log("the connection to the media server broke off");
      },
      log: this.#options.log,
    });
    this.#rooms.set(manager, mediaServerConfig.roomId);
    return manager;
  }

  async #warmUp(warm: SFUConnectionManager): Promise<void> {
    let error: string | null = null;
    try {
      await within(warm.open(), WARM_WITHIN_MS);
      if (!(await warm.connectedWithin(WARM_WITHIN_MS))) error = "ICE failed: the media server was not reached";
    } catch (failure) {
      error = textOf(failure);
    }
    if (this.#closed || (warm !== this.#warm && warm !== this.#server)) return;
    if (error !== null && warm === this.#warm) this.#dropWarm();
    await this.#options.sfuReady(error).catch((failure: unknown) => this.#options.log(textOf(failure)));
  }

  #serverLost(manager: SFUConnectionManager, reason: string): void {
    this.#options.log(`media server: ${reason}`);
    if (manager === this.#warm) {
      this.#dropWarm();
    } else if (manager === this.#server) {
      this.#closeServer(manager);
      if (this.#attempt?.building && this.#attempt.mode === "sfu") this.#attempt.lost = reason;
      else if (this.#known.phase !== "p2p") this.#options.onLost(reason);
    }
  }

  #closeServer(manager: SFUConnectionManager): void {
    if (manager === this.#server) this.#server = null;
    this.#close(manager);
  }

  #dropWarm(): void {
    this.#close(this.#warm);
    this.#warm = null;
  }

  #drop(mode: Mode): void {
    if (mode === "p2p" && this.#direct) {
      this.#options.media.closePath(this.#direct);
      this.#direct.close();
      this.#direct = null;
    } else if (mode === "sfu" && this.#server) {
      this.#closeServer(this.#server);
    }
  }

  #close(path: SFUConnectionManager | null): void {
    if (!path) return;
    this.#options.media.closePath(path);
    this.#rooms.delete(path);
    path.close();
  }

  #cancel(): void {
    this.#attempt?.abort.abort();
    this.#attempt = null;
    this.#unconfirmed = null;
  }

  // ---- arrival

  /** Look for media that has arrived on a path, and let it be seen and heard. */
  async #lookAt(mode: Mode): Promise<void> {
    const path = mode === "sfu" ? this.#server : this.#direct;
    const waiting = path?.remoteTracks.filter((one) => !this.#arrived.has(one.track)) ?? [];
    if (!path || waiting.length === 0) return;
    const reports = await path.inbound().catch(() => []);
    for (const track of arrived(waiting, reports)) {
      if (path.closed || this.#arrived.has(track.track)) continue;
      this.#arrived.add(track.track);
      this.#options.media.arrived(path, track);
      this.#options.onConnection(track.participantId, true);
    }
  }

  /** Tracks that come while no attempt runs. */
  #watch(): void {
    const again = () => {
      if (this.#closed) return;
      const running = this.#attempt?.building ?? false;
      const modes: readonly Mode[] = running ? [] : ["p2p", "sfu"];
      void Promise.all(modes.map((mode) => this.#lookAt(mode))).finally(() => {
        if (!this.#closed) this.#watching = setTimeout(again, CALM_POLL_MS);
      });
    };
    this.#watching = setTimeout(again, CALM_POLL_MS);
  }
}

const iceServersOf = (order: Pick<JoinAnswer, "iceServers">): RTCIceServer[] =>
  order.iceServers.map(({ urls, username, credential }) => ({
    urls: [...urls],
    ...(username === undefined ? {} : { username }),
    ...(credential === undefined ? {} : { credential }),
  }));

const running = (answer: JoinAnswer): boolean => answer.phase.startsWith("switching");

function orderOf(order: Pick<JoinAnswer, "epoch" | "mediaServerConfig" | "peer" | "initiator">, mode: Mode): Order {
  const { epoch, mediaServerConfig, peer, initiator } = order;
  return { mode, epoch, roomId: mediaServerConfig?.roomId ?? null, peer, initiator };
}

async function within(work: Promise<void>, ms: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_done, refuse) => {
    timer = setTimeout(() => refuse(new Error(`the media server was not reached within ${Math.round(ms)} ms`)), ms);
  });
  await Promise.race([work, late]).finally(() => clearTimeout(timer));
}
