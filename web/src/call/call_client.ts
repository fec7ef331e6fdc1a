/**
 * A participant in one call of the gateway. Everything a page needs: enter, switch devices on and off, see who is there,
 * show their pictures, leave. Which path media takes the gateway decides; this follows, so that nobody notices.
 */
import { causeOf } from "../diagnosis/candidate_pairs";
import { diagnose } from "../diagnosis/diagnosis";
import { AudioOutput, levelOf } from "../media/audio_output";
import { RemoteMedia } from "../media/remote_media";
import { RefusedError, textOf, UnreachableError } from "../wire/errors";
import type { CallError, JoinAnswer, MediaSettings, ServerEvents } from "../wire/gateway";
import type { ConnectionChange } from "../wire/typed_socket";
import type { CallClientOptions, CallEvents } from "./call_events";
import { CallFigures, reportsOf } from "./call_figures";
import type { PathReports } from "./call_stats";
import { Emitter } from "./emitter";
import { codeOfRefusal, failureOf } from "./failures";
import { Gateway } from "./gateway";
import { DeviceError, LocalMedia } from "./local_media";
import { MediaPaths } from "./media_paths";
import type {
  CallClientLike,
  CallState,
  CallStats,
  Failure,
  LocalMedia as OpenedMedia,
  Mode,
  RemoteVideo,
  Source,
} from "./model";
import { IDLE, MEDIA_OF, reduce, SPEAKING_LEVEL, type Action } from "./state";

type Told = { [E in keyof ServerEvents]: { readonly event: E; readonly payload: ServerEvents[E] } }[keyof ServerEvents];

type Settings = Required<MediaSettings>;

const LEVELS_MS = 200;
const STATS_MS = 2000;
const RESYNC_MS = [300, 1000, 2000, 4000] as const;
const ENTER_TIMEOUT_MS = 10_000;

export class CallClient implements CallClientLike {
  readonly #gateway: Gateway;
  readonly #log: (line: string) => void;
  readonly #iceTransportPolicy: RTCIceTransportPolicy | undefined;
  readonly #emitter = new Emitter<CallEvents>();
  readonly #media: RemoteMedia;
  readonly #local: LocalMedia;
  readonly #abort = new AbortController();
  #state: CallState = IDLE;
  #paths: MediaPaths | null = null;
  #visible: ReadonlySet<string> | null = null;
  #figures = new CallFigures();
  #opened = false;
  #target: { conversationId: string | null; callId: string | null } = { conversationId: null, callId: null };
  #waiting: { done: () => void; failed: (error: Error) => void } | null = null;
  #joinedOnce: (() => void) | null = null;
  #resyncs = 0;
  #resync: ReturnType<typeof setTimeout> | undefined;
  #timers: ReturnType<typeof setInterval>[] = [];
  #left = false;
  #listens = false;

  constructor(options: CallClientOptions) {
    this.#log = options.log ?? (() => undefined);
    this.#iceTransportPolicy = options.iceTransportPolicy;
    const url = (options.gatewayUrl ?? location.origin).replace(/\/$/, "");
    this.#gateway = new Gateway({ url, token: options.token, log: this.#log });
    this.#media = new RemoteMedia(new AudioOutput());
    this.#local = new LocalMedia((source) => void this.#sourceEnded(source));
  }

  get state(): CallState {
    return this.#state;
  }

  subscribe(listener: () => void): () => void {
    return this.#emitter.on("state", listener);
  }

  on<E extends keyof CallEvents>(event: E, listener: (payload: CallEvents[E]) => void): () => void {
    return this.#emitter.on(event, listener);
  }

  // ---- coming in

  /** Join the live call of a conversation, or begin one. */
  async enter(conversationId: string, media: OpenedMedia): Promise<void> {
    this.#target = { conversationId, callId: null };
    await this.#begin(media);
  }

  /** Join a call by its id. */
  async join(callId: string, media: OpenedMedia): Promise<void> {
    this.#target = { conversationId: null, callId };
    await this.#begin(media);
  }

  /** Try again what failed: to come in, or the last change of path. */
  async retry(): Promise<void> {
    const { stage, callId, transition } = this.#state;
    if (stage === "failed" || stage === "ended") {
      this.#left = false;
      await this.#come();
    } else if (callId && transition?.failed) {
      try {
        await this.#gateway.setMode(callId, transition.to);
      } catch (error) {
        // Not everyone may ask for a mode; whoever may not asks what holds now.
        this.#log(textOf(error));
        this.#resyncIn(0);
      }
    }
  }

  async #begin(media: OpenedMedia): Promise<void> {
    this.#local.take(media);
    this.#showLocal();
    this.#dispatch({ type: "local", change: { ...this.#local.state, error: null } });
    await this.#come();
  }

  async #come(): Promise<void> {
    this.#dispatch({ type: "entering" });
    try {
      await this.#connect();
      await this.#ask();
      this.#start();
    } catch (error) {
      const failure = error instanceof Refusal ? error.failure : failureOf(error);
      this.#dispatch({ type: "failed", failure });
      void this.#diagnose(failure);
      throw error;
    }
  }

  /** Connect to the gateway, once; rejects when it refuses or cannot be reached. */
  async #connect(): Promise<void> {
    if (this.#gateway.connected) return;
    const connected = new Promise<void>((done, failed) => (this.#waiting = { done, failed }));
    const late = setTimeout(
      () => this.#waiting?.failed(new UnreachableError(`no connection within ${ENTER_TIMEOUT_MS / 1000} s`)),
      ENTER_TIMEOUT_MS,
    );
    if (this.#opened) this.#gateway.reconnect();
    else this.#open();
    await connected.finally(() => {
      clearTimeout(late);
      this.#waiting = null;
    });
  }

  #open(): void {
    this.#opened = true;
    this.#gateway.open(
      (event, payload) => this.#take({ event, payload } as Told),
      (change) => this.#changed(change),
    );
  }

  /** Join or initiate; the state comes with the event of the same content, in order with all others. */
  async #ask(): Promise<void> {
    const settings = this.#settings();
    const { conversationId } = this.#target;
    const taken = new Promise<void>((done) => (this.#joinedOnce = done));
    for (let attempt = 0; ; attempt += 1) {
      try {
        const callId =
          this.#target.callId ?? (conversationId === null ? null : await this.#gateway.activeCall(conversationId));
        if (callId !== null) await this.#gateway.ask("call:join", { callId, settings });
        else
          await this.#gateway.ask("call:initiate", { conversationId: conversationId ?? "", type: "video", settings });
        break;
      } catch (error) {
        // Another one began or ended the conversation's call meanwhile.
        const raced = error instanceof RefusedError && ["CALL_ALREADY_ACTIVE", "CALL_ENDED"].includes(error.code);
        if (!raced || conversationId === null || attempt >= 3) throw error;
      }
    }
    await taken;
  }

  /** What is being sent, as the gateway names it. */
  #settings(): Settings {
    const { microphone, camera, screen } = this.#local.state;
    return { audioEnabled: microphone === "on", videoEnabled: camera === "on", screenShareEnabled: screen === "on" };
  }

  #start(): void {
    if (this.#timers.length > 0) return;
    this.#timers = [
      setInterval(() => this.#readLevels(), LEVELS_MS),
      setInterval(() => void this.#readStats().catch((error: unknown) => this.#log(textOf(error))), STATS_MS),
    ];
    if (this.#listens) return;
    this.#listens = true;
    const { signal } = this.#abort;
    // A socket's goodbye is a leave; without it the place would be kept for a minute.
    addEventListener("pagehide", () => this.close(), { signal });
    addEventListener("online", () => this.#paths?.restartIce(), { signal });
  }

  // ---- devices

  async setMicrophone(on: boolean): Promise<void> {
    await this.#change("microphone", () => this.#local.setMicrophone(on));
  }

  async setCamera(on: boolean): Promise<void> {
    await this.#change("camera", () => this.#local.setCamera(on));
  }

  async shareScreen(on: boolean): Promise<void> {
    await this.#change("screen", () => this.#local.setScreen(on));
  }

  async useMicrophone(deviceId: string): Promise<void> {
    await this.#change("microphone", () => this.#local.useMicrophone(deviceId));
  }

  async useCamera(deviceId: string): Promise<void> {
    await this.#change("camera", () => this.#local.useCamera(deviceId));
  }

  /** Change a source here first, then for those it is sent to, then in what the gateway says of it. */
  async #change(source: Source, act: () => Promise<unknown>): Promise<void> {
    const before = this.#settings();
    try {
      await act();
    } catch (error) {
      if (error instanceof DeviceError) this.#dispatch({ type: "local", change: { error: error.problem } });
      throw error;
    }
    this.#showLocal();
    this.#dispatch({ type: "local", change: { ...this.#local.state, error: null } });
    const told = this.#tell(source, before).catch((error: unknown) => this.#log(textOf(error)));
    await this.#paths?.setTracks(this.#local.tracks);
    await told;
  }

  async #tell(source: Source, before: Settings): Promise<void> {
    const { callId, self } = this.#state;
    const now = this.#settings();
    if (!callId || !self) return;
    const media = MEDIA_OF[source];
    const [was, is] = {
      audio: [before.audioEnabled, now.audioEnabled],
      video: [before.videoEnabled, now.videoEnabled],
      screen: [before.screenShareEnabled, now.screenShareEnabled],
    }[media] as [boolean, boolean];
    if (was === is) return;
    this.#dispatch({ type: "toggled", id: self, media, enabled: is });
    if (media === "audio") await this.#gateway.ask("call:toggle-audio", { callId, enabled: is });
    else if (media === "video") await this.#gateway.ask("call:toggle-video", { callId, enabled: is });
    else await this.#gateway.ask("call:media-state-change", { callId, screenShareEnabled: is });
  }

  async #sourceEnded(source: Source): Promise<void> {
    try {
      if (source === "screen") await this.shareScreen(false);
      else if (source === "camera") await this.setCamera(false);
      else await this.setMicrophone(false);
    } catch (error) {
      this.#log(textOf(error));
    }
  }

  #showLocal(): void {
    const { self } = this.#state;
    if (self === null) return;
    for (const source of ["camera", "screen"] as const) {
      const slot = this.#media.video(self, source);
      const { track } = this.#local.tracks[source];
      if (track) slot.replace(track);
      else slot.clear();
    }
  }

  // ---- pictures and sound

  /** Video of participants who are not in `visible` is paused at the media server; sound of all is heard. */
  watch(visible: ReadonlySet<string>): void {
    this.#visible = new Set(visible);
    this.#paths?.watch(this.#visible);
  }

  video(participantId: string, source: "camera" | "screen"): RemoteVideo {
    return this.#media.video(participantId, source);
  }

  async resumeAudio(): Promise<void> {
    await this.#media.audio.resume();
  }

  setVolume(participantId: string, volume: number): void {
    this.#media.audio.setVolume(participantId, volume);
  }

  /** Where sound is played, for measurements and own effects; null before the first sound. */
  get audioContext(): AudioContext | null {
    return this.#media.audio.context;
  }

  async stats(): Promise<CallStats> {
    const tracks = await this.#figures.tracks(this.#paths, this.#state.self ?? "");
    return { at: Date.now(), mode: this.#state.mode, tracks };
  }

  /** The connections' own statistics, for a diagnosis. */
  reports(): Promise<readonly PathReports[]> {
    return reportsOf(this.#paths);
  }

  // ---- going

  /** Leave the call; the client may enter another one. Idempotent. */
  async leave(): Promise<void> {
    const { callId, stage } = this.#state;
    if (stage === "idle" || stage === "ended" || this.#left) return;
    this.#left = true;
    const leaving = callId && this.#gateway.connected ? this.#gateway.ask("call:leave", { callId }) : null;
    this.#end("left", null, false);
    await leaving?.catch((error: unknown) => this.#log(textOf(error)));
  }

  /** Leave at once, without waiting for an answer, and release everything. Idempotent. */
  close(): void {
    this.#gateway.close();
    this.#abort.abort();
    if (this.#paths || this.#state.stage === "joining") this.#end("left", null, false);
    this.#waiting?.failed(new UnreachableError("the client was closed"));
    this.#media.close();
  }

  #end(reason: string, failure: Failure | null, replaced: boolean): void {
    clearTimeout(this.#resync);
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers = [];
    this.#paths?.close();
    this.#paths = null;
    for (const { id } of this.#state.participants) this.#media.forget(id);
    this.#local.close();
    const { startedAt } = this.#state;
    const durationS = startedAt === null ? 0 : Math.max(0, Math.round((Date.now() - startedAt) / 1000));
    const summary = this.#figures.summary(durationS, reason);
    this.#dispatch({ type: "ended", summary, replaced, failure });
    this.#dispatch({ type: "local", change: { ...this.#local.state } });
    this.#figures = new CallFigures();
    this.#emitter.emit("ended", { reason });
  }

  // ---- what the gateway says

  #changed(change: ConnectionChange): void {
    const { callId, self } = this.#state;
    if (change.state === "connected") {
      this.#waiting?.done();
      if (this.#paths && callId && self) void this.#rejoin(callId, self);
    } else if (change.state === "disconnected") {
      this.#dispatch({ type: "reconnecting" });
      if (change.reason === "io server disconnect" && this.#paths) setTimeout(() => this.#gateway.reconnect(), 500);
    } else {
      this.#log(`the gateway refuses: ${change.error.message}`);
      // Without a code it is the network: socket.io tries again by itself.
      if (change.code === null) return;
      const code = codeOfRefusal(change.code, change.error.message);
      const failure = { code, message: change.error.message, diagnosis: null };
      if (this.#waiting) this.#waiting.failed(new Refusal(failure));
      else if (code === "rate-limited") setTimeout(() => this.#gateway.reconnect(), 2000);
      else if (this.#paths) this.#end("refused", failure, false);
    }
  }

  async #rejoin(callId: string, participantId: string): Promise<void> {
    try {
      await this.#gateway.ask("call:rejoin", { callId, participantId });
      this.#resyncs = 0;
    } catch (error) {
      if (!(error instanceof RefusedError)) return; // the connection broke again: the next one asks
      if (error.code === "NOT_A_PARTICIPANT") await this.#joinAgain(callId);
      else if (["CALL_ENDED", "CALL_NOT_FOUND"].includes(error.code)) this.#end("ended", null, false);
      else if (error.code === "KICKED") this.#kicked(error.message);
      else this.#resyncIn();
    }
  }

  /** The place was lost while this page was away: take a new one. */
  async #joinAgain(callId: string): Promise<void> {
    try {
      await this.#gateway.ask("call:join", { callId, settings: this.#settings() });
    } catch (error) {
      this.#end("lost", failureOf(error), false);
    }
  }

  /** Ask again what holds, soon: the path that counts was lost. */
  #resyncIn(ms: number = RESYNC_MS[Math.min(this.#resyncs, RESYNC_MS.length - 1)] ?? 1000): void {
    clearTimeout(this.#resync);
    this.#resyncs += 1;
    this.#resync = setTimeout(() => {
      const { callId, self } = this.#state;
      if (this.#paths && callId && self && this.#gateway.connected) void this.#rejoin(callId, self);
    }, ms);
  }

  async #take(told: Told): Promise<void> {
    if ("callId" in told.payload && this.#state.callId !== null && told.payload.callId !== this.#state.callId) {
      if (told.event !== "call:join") return;
    }
    switch (told.event) {
      case "call:join":
        this.#joined(told.payload);
        break;
      case "call:rejoined":
        this.#rejoined(told.payload);
        break;
      case "call:signal":
        await this.#paths?.signal(told.payload.signal).catch((error: unknown) => this.#log(textOf(error)));
        break;
      case "call:mode-switch":
      case "call:mode-switched":
      case "call:prewarm":
      case "call:media-token":
      case "call:sfu-unreachable":
        await this.#takePath(told);
        break;
      case "call:error":
        this.#takeError(told.payload);
        break;
      case "call:ended":
        if (this.#paths) this.#end(told.payload.reason, null, false);
        break;
      default:
        this.#takeParticipant(told);
    }
  }

  #joined(answer: JoinAnswer): void {
    if (this.#left) return;
    this.#paths?.close();
    if (this.#state.self !== null && this.#state.self !== answer.participantId) this.#media.forget(this.#state.self);
    this.#dispatch({
      type: "joined",
      callId: answer.callId,
      self: answer.participantId,
      mode: answer.mode,
      participants: answer.participants,
      at: Date.now(),
    });
    this.#dispatch({ type: "reconnected" });
    this.#paths = this.#newPaths(answer);
    this.#showLocal();
    this.#paths.joined(answer);
    this.#connectSilent();
    if (answer.mode === "p2p" && answer.reason !== null) this.#noPath("sfu", answer.reason);
    this.#joinedOnce?.();
    this.#joinedOnce = null;
  }

  #rejoined(answer: JoinAnswer): void {
    const before = new Set(this.#state.participants.map(({ id }) => id));
    this.#dispatch({ type: "participants", participants: answer.participants });
    const now = new Set(this.#state.participants.map(({ id }) => id));
    for (const id of before) if (!now.has(id)) this.#forget(id);
    this.#dispatch({ type: "reconnected" });
    if (!answer.phase.startsWith("switching") && this.#state.mode !== answer.mode) {
      this.#dispatch({ type: "switched", mode: answer.mode, success: true, why: "", at: Date.now() });
    }
    this.#paths?.rejoined(answer);
    this.#connectSilent();
  }

  #newPaths(answer: JoinAnswer): MediaPaths {
    const { callId, participantId: self } = answer;
    return new MediaPaths({
      callId,
      self,
      media: this.#media,
      iceTransportPolicy: this.#iceTransportPolicy,
      tracks: () => this.#local.tracks,
      participant: (id) => this.#state.participants.find((one) => one.id === id),
      visible: () => this.#visible,
      signal: async (signal) => {
        await this.#gateway.ask("call:signal", { callId, signal: { from: self, ...signal } });
      },
      confirm: async (confirmation) => {
        await this.#gateway.ask("call:mode-switched", confirmation);
      },
      sfuReady: async (error) => {
        const success = error === null;
        await this.#gateway.ask("call:sfu-ready", { callId, success, ...(success ? {} : { error }) });
      },
      mediaToken: async () => (await this.#gateway.ask("call:media-token", { callId })).mediaToken,
      onConnection: (id, connected) => {
        this.#dispatch({ type: "connection", id, connection: connected ? "connected" : "reconnecting" });
        if (this.#media.audio.blocked) this.#emitter.emit("audio-blocked", {});
        if (connected && this.#state.transition?.failed && this.#state.mode === "p2p") this.#clearNoPath();
      },
      onLost: (reason) => {
        this.#log(`path lost: ${reason}`);
        this.#resyncIn();
      },
      onDirectFailed: (reason) => this.#noPath("p2p", reason),
      log: this.#log,
    });
  }

  async #takePath(
    told: Extract<
      Told,
      {
        event: "call:mode-switch" | "call:mode-switched" | "call:prewarm" | "call:media-token" | "call:sfu-unreachable";
      }
    >,
  ): Promise<void> {
    const paths = this.#paths;
    if (!paths) return;
    switch (told.event) {
      case "call:mode-switch": {
        const { newMode, oldMode, participants } = told.payload;
        this.#dispatch({ type: "participants", participants });
        if (!paths.switch(told.payload)) return;
        this.#dispatch({ type: "switching", to: newMode, from: oldMode, at: Date.now() });
        this.#emitter.emit("switching", { to: newMode, from: oldMode });
        break;
      }
      case "call:mode-switched": {
        const { mode, oldMode, success, reason, durationMs } = told.payload;
        if (!paths.switched(told.payload)) return;
        if (success && mode !== oldMode) this.#figures.switches += 1;
        this.#dispatch({ type: "switched", mode, success, why: reason, at: Date.now() });
        this.#emitter.emit("switched", { mode, success, durationMs });
        this.#connectSilent();
        break;
      }
      case "call:prewarm":
        paths.prewarm(told.payload);
        break;
      case "call:media-token":
        await paths.renew(told.payload.mediaToken).catch((error: unknown) => this.#log(textOf(error)));
        break;
      case "call:sfu-unreachable":
        this.#emitter.emit("sfu-unreachable", { id: told.payload.participantId, reason: told.payload.reason });
        break;
    }
  }

  #takeParticipant(told: Told): void {
    switch (told.event) {
      case "call:participant-joined": {
        const { participant, initiator, mode } = told.payload;
        this.#dispatch({ type: "participant-joined", participant });
        this.#connectSilent();
        this.#emitter.emit("participant-joined", { id: participant.participantId, name: participant.username });
        if (initiator && mode === "p2p") this.#paths?.offer(participant.participantId);
        break;
      }
      case "call:participant-left": {
        const { participantId, username, reason } = told.payload;
        this.#dispatch({ type: "participant-left", id: participantId });
        this.#forget(participantId);
        this.#emitter.emit("participant-left", { id: participantId, name: username, reason });
        break;
      }
      case "call:participant-connection": {
        const connection = told.payload.state === "connected" ? "connected" : "reconnecting";
        this.#dispatch({ type: "connection", id: told.payload.participantId, connection });
        break;
      }
      case "call:media-toggled": {
        const { participantId, mediaType, enabled } = told.payload;
        if (participantId !== this.#state.self) {
          this.#dispatch({ type: "toggled", id: participantId, media: mediaType, enabled });
        }
        break;
      }
      case "new-producer":
        this.#paths?.produced(told.payload);
        break;
      case "producer-closed":
        this.#paths?.unproduced(told.payload.producerId);
        break;
      case "active-speaker": {
        const volumes = new Map(told.payload.volumes.map((one) => [one.participantId, levelOf(one.volume)]));
        const activeSpeaker = told.payload.participantId;
        // A change of speaker comes without volumes: those of before hold.
        if (volumes.size === 0 && activeSpeaker !== this.#state.activeSpeaker) {
          for (const { id, volume } of this.#state.participants) volumes.set(id, volume);
        }
        this.#dispatch({ type: "volumes", volumes, activeSpeaker });
        break;
      }
      default:
    }
  }

  #takeError(error: CallError): void {
    if (error.code === "KICKED" && this.#paths) this.#kicked(error.message);
    else if (error.code === "MODE_SWITCH_FAILED") {
      const reason = error.details?.["reason"];
      this.#noPath(this.#state.transition?.to ?? "sfu", typeof reason === "string" ? reason : error.message);
    } else this.#log(`${error.event ?? "call:error"}: ${error.code}: ${error.message}`);
  }

  #kicked(message: string): void {
    const replaced = /another socket|took your place/i.test(message);
    const failure: Failure = { code: "kicked", message, diagnosis: null };
    this.#end(replaced ? "replaced" : "removed", replaced ? null : failure, replaced);
  }

  #noPath(to: Mode, why: string): void {
    this.#dispatch({ type: "no-path", to, why, at: Date.now() });
    void this.#diagnose({ code: "media-unreachable", message: why, diagnosis: null });
  }

  /** Add to a failure what was tried, unless it is over by then. */
  async #diagnose(failure: Failure): Promise<void> {
    const before = this.#state;
    const diagnosis = await diagnose(this, { gatewayUrl: this.#gateway.url, token: this.#gateway.token });
    const { stage, transition } = this.#state;
    const over = stage !== before.stage || (stage !== "failed" && !transition?.failed);
    const pairs = failure.code === "media-unreachable" ? diagnosis.pairs : [];
    const code = causeOf(pairs, new URL(this.#gateway.url).hostname) ?? failure.code;
    if (!over) this.#dispatch({ type: "diagnosed", failure: { ...failure, code, diagnosis } });
  }

  #clearNoPath(): void {
    this.#dispatch({ type: "switched", mode: "p2p", success: true, why: "", at: Date.now() });
  }

  #forget(id: string): void {
    this.#paths?.left(id);
    this.#media.forget(id);
  }

  /** Who sends nothing is never seen to arrive; the gateway vouches for them. */
  #connectSilent(): void {
    for (const { id, self, connection, audioEnabled, videoEnabled, screenEnabled } of this.#state.participants) {
      const silent = !audioEnabled && !videoEnabled && !screenEnabled;
      if (!self && silent && connection === "connecting") {
        this.#dispatch({ type: "connection", id, connection: "connected" });
      }
    }
  }

  // ---- figures

  async #readStats(): Promise<void> {
    const { callId, self } = this.#state;
    if (!callId || !self) return;
    const { quality, report } = await this.#figures.tick(this.#paths, self);
    this.#dispatch({ type: "quality", quality });
    if (report && this.#gateway.connected) await this.#gateway.reportQuality(callId, report);
  }

  /** Between two the gateway tells nobody who speaks. */
  #readLevels(): void {
    if (this.#state.mode !== "p2p" || this.#state.stage !== "in-call") return;
    const volumes = this.#media.audio.levels();
    const loudest = [...volumes].sort((one, other) => other[1] - one[1])[0];
    const speaks = loudest && loudest[1] >= SPEAKING_LEVEL ? loudest[0] : this.#state.activeSpeaker;
    this.#dispatch({ type: "volumes", volumes, activeSpeaker: speaks });
  }

  #dispatch(action: Action): void {
    const next = reduce(this.#state, action);
    if (next === this.#state) return;
    this.#state = next;
    this.#emitter.emit("state", next);
  }
}

/** The gateway refuses this page. */
class Refusal extends Error {
  override readonly name = "Refusal";
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}
