/** The call gateway as a page reaches it: events, REST, and the user's token, renewed before it expires. */
import { request } from "../wire/http";
import { textOf } from "../wire/errors";
import { ANSWERS, EVENTS, SHAPES, type ClientEvents, type QualityBody, type ServerEvents } from "../wire/gateway";
import { TypedSocket, type ConnectionChange } from "../wire/typed_socket";
import { claimsOf, renewInMs } from "./user_token";

export type TokenSource = string | (() => Promise<string>);

export interface GatewayOptions {
  readonly url: string;
  readonly token: TokenSource;
  readonly log: (line: string) => void;
}

const RENEW_AGAIN_MS = 5000;

export class Gateway {
  readonly #options: GatewayOptions;
  readonly #socket: TypedSocket<ClientEvents, ServerEvents>;
  #token = "";
  #renewal: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.#socket = new TypedSocket<ClientEvents, ServerEvents>({
      url: options.url,
      token: () => this.#fresh(),
      shapes: SHAPES,
      events: EVENTS,
      answers: ANSWERS,
      log: options.log,
    });
  }

  get url(): string {
    return this.#options.url;
  }

  get connected(): boolean {
    return this.#socket.connected;
  }

  /** The newest token; empty before the first was got. */
  get token(): string {
    return this.#token;
  }

  open(
    onEvent: <E extends keyof ServerEvents>(event: E, payload: ServerEvents[E]) => Promise<void> | void,
    onChange: (change: ConnectionChange) => Promise<void> | void,
  ): void {
    this.#socket.open(onEvent, onChange);
  }

  reconnect(): void {
    this.#socket.reconnect();
  }

  ask<E extends keyof ClientEvents>(event: E, payload: ClientEvents[E]["payload"]): Promise<ClientEvents[E]["answer"]> {
    return this.#socket.ask(event, payload as never);
  }

  /** The id of the live call of a conversation, or null. */
  async activeCall(conversationId: string): Promise<string | null> {
    if (!this.#token) await this.#fresh();
    const route = "GET /api/conversations/{conversationId}/active-call";
    const { call } = await this.#request<{ call: { callId: string } | null }>(route, { conversationId });
    return call?.callId ?? null;
  }

  /** Ask for a failed switch to be tried again now; allowed to the initiator and admins. */
  async setMode(callId: string, mode: "p2p" | "sfu"): Promise<void> {
    await this.#request("PUT /api/calls/{callId}/mode", { callId }, { mode });
  }

  async reportQuality(callId: string, body: QualityBody): Promise<void> {
    await this.#request("POST /api/calls/{callId}/quality-metrics", { callId }, body);
  }

  /** Say goodbye; a disconnect of a socket is a leave. Idempotent. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#renewal);
    this.#socket.close();
  }

  #request<T>(route: string, ids: Readonly<Record<string, string>>, body?: unknown): Promise<T> {
    const { url } = this.#options;
    return request<T>({ url, token: () => this.#token, shapes: SHAPES, answers: ANSWERS }, route, ids, body);
  }

  async #fresh(): Promise<string> {
    const { token } = this.#options;
    this.#token = typeof token === "string" ? token : await token();
    if (typeof token !== "string") this.#planRenewal();
    return this.#token;
  }

  #planRenewal(): void {
    clearTimeout(this.#renewal);
    const ms = renewInMs(claimsOf(this.#token), Date.now());
    if (ms !== null && !this.#closed) this.#renewal = setTimeout(() => void this.#renew(), ms);
  }

  async #renew(): Promise<void> {
    try {
      await this.#fresh();
      if (this.#socket.connected) await this.ask("authenticate", { token: this.#token });
    } catch (error) {
      this.#options.log(`renewal of the token: ${textOf(error)}`);
      clearTimeout(this.#renewal);
      if (!this.#closed) this.#renewal = setTimeout(() => void this.#renew(), RENEW_AGAIN_MS);
    }
  }
}
