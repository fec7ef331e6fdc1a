/**
 * A participant's place in a room of the media server: its requests, and the socket on which the room reports. Decides
 * nothing about media.
 */
import { request } from "../wire/http";
import { textOf, UnreachableError } from "../wire/errors";
import type { RemoteProducer } from "../wire/gateway";
import {
  ANSWERS,
  EVENTS,
  SHAPES,
  type ClientEvents,
  type JoinRoomAnswer,
  type ServerEvents,
} from "../wire/media_server";
import { TypedSocket, type ConnectionChange } from "../wire/typed_socket";

export interface RoomOptions {
  readonly url: string;
  readonly token: string;
  readonly callId: string;
  readonly participantId: string;
  readonly freshToken: () => Promise<string>;
  readonly signal: AbortSignal;
  readonly log: (line: string) => void;
}

export interface RoomEvents {
  announced(producer: RemoteProducer): void;
  /** The session goes on after a break: these producers are there, and this is owned. */
  replayed(producerIds: ReadonlySet<string>, answer: JoinRoomAnswer): void;
  closed(producerId: string): void;
  transportState(transportId: string, iceState: string): void;
  lost(reason: string): void;
}

export class MediaRoom {
  readonly #options: RoomOptions;
  readonly #events: RoomEvents;
  readonly #socket: TypedSocket<ClientEvents, ServerEvents>;
  #token: string;
  #joined = false;
  #replay: Set<string> | null = null;

  constructor(options: RoomOptions, events: RoomEvents) {
    this.#options = options;
    this.#events = events;
    this.#token = options.token;
    this.#socket = new TypedSocket<ClientEvents, ServerEvents>({
      url: options.url,
      token: () => Promise.resolve(this.#token),
      shapes: SHAPES,
      events: EVENTS,
      answers: ANSWERS,
      log: options.log,
    });
  }

  /** Take part in the room's events; the place itself was made by REST. */
  open(): void {
    this.#socket.open(
      (event, payload) => this.#take(event, payload),
      (change) => this.#changed(change),
    );
  }

  request<T>(route: string, ids: Readonly<Record<string, string>>, body?: unknown): Promise<T> {
    const { url, callId, signal } = this.#options;
    const service = { url, token: () => this.#token, shapes: SHAPES, answers: ANSWERS };
    return request<T>(service, route, { callId, ...ids }, body ?? (route.startsWith("POST") ? {} : undefined), signal);
  }

  async renew(token: string): Promise<void> {
    this.#token = token;
    if (this.#socket.connected) await this.#socket.ask("refresh-token", { token });
  }

  close(): void {
    this.#socket.close();
  }

  #take<E extends keyof ServerEvents>(event: E, payload: ServerEvents[E]): void {
    const told = { event, payload } as {
      [K in keyof ServerEvents]: { event: K; payload: ServerEvents[K] };
    }[keyof ServerEvents];
    switch (told.event) {
      case "new-producer":
        this.#replay?.add(told.payload.producerId);
        this.#events.announced(told.payload);
        break;
      case "producer-closed":
        this.#events.closed(told.payload.producerId);
        break;
      case "transport-state":
        if (told.payload.dtlsState === "failed") this.#events.lost(`DTLS failed: ${told.payload.reason ?? ""}`);
        else this.#events.transportState(told.payload.transportId, told.payload.iceState);
        break;
      case "participant-left":
        if (told.payload.participantId === this.#options.participantId) this.#events.lost(told.payload.reason);
        break;
      case "room-closed":
        this.#events.lost(`room closed: ${told.payload.reason}`);
        break;
      case "request-error":
        this.#options.log(`${told.payload.event}: ${told.payload.error.message}`);
        break;
      default:
    }
  }

  async #changed(change: ConnectionChange): Promise<void> {
    if (change.state === "connected") {
      // Not awaited: the replay comes before the answer, on this very queue.
      void this.#join();
    } else if (change.state === "disconnected") {
      if (change.reason === "io server disconnect") await this.#comeBack();
    } else if (change.code === "UNAUTHORIZED") {
      await this.#comeBack();
    }
  }

  async #join(): Promise<void> {
    const { callId, participantId } = this.#options;
    const resume = this.#joined;
    const replay = new Set<string>();
    this.#replay = replay;
    try {
      const answer = await this.#socket.ask("join-room", { callId, participantId, resume });
      if (resume && answer.resumed !== true) this.#events.lost("the session was over");
      else if (resume) this.#events.replayed(replay, answer);
      this.#joined = true;
    } catch (error) {
      if (error instanceof UnreachableError) this.#options.log(textOf(error));
      else this.#events.lost(textOf(error));
    } finally {
      if (this.#replay === replay) this.#replay = null;
    }
  }

  async #comeBack(): Promise<void> {
    try {
      this.#token = await this.#options.freshToken();
      this.#socket.reconnect();
    } catch (error) {
      this.#events.lost(`no token for the media server: ${textOf(error)}`);
    }
  }
}
