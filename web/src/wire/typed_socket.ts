/**
 * A Socket.IO connection to one of the services: typed events both ways, checked when they come, handled one after the
 * other in the order they came.
 */
import { io, type Socket } from "socket.io-client";
import { checked, type Shape, type Shapes } from "./check";
import { RefusedError, textOf, UnreachableError, unwrapped } from "./errors";

interface ClientEventMap {
  [event: string]: { payload: unknown; answer: unknown };
}

export interface SocketOptions<S> {
  readonly url: string;
  /** The token for each new connection. */
  readonly token: () => Promise<string>;
  readonly shapes: Shapes;
  readonly events: Readonly<Record<keyof S & string, Shape>>;
  readonly answers: Readonly<Partial<Record<string, Shape>>>;
  readonly log: (line: string) => void;
}

export type ConnectionChange =
  | { readonly state: "connected" }
  | { readonly state: "disconnected"; readonly reason: string }
  | { readonly state: "refused"; readonly error: Error; readonly code: string | null };

const ANSWER_TIMEOUT_MS = 10_000;

export class TypedSocket<C extends object, S extends object> {
  readonly #socket: Socket;
  readonly #options: SocketOptions<S>;
  #order: Promise<void> = Promise.resolve();
  #onEvent: (<E extends keyof S & string>(event: E, payload: S[E]) => Promise<void> | void) | null = null;
  #onChange: ((change: ConnectionChange) => Promise<void> | void) | null = null;
  #closed = false;

  constructor(options: SocketOptions<S>) {
    this.#options = options;
    this.#socket = io(options.url, {
      transports: ["websocket"],
      autoConnect: false,
      forceNew: true,
      reconnectionDelay: 250,
      reconnectionDelayMax: 3000,
      auth: (send) => {
        options.token().then(
          (token) => send({ token }),
          (error: unknown) => {
            options.log(`no token: ${textOf(error)}`);
            send({ token: "" });
          },
        );
      },
    });
    this.#socket.on("connect", () => this.#changed({ state: "connected" }));
    this.#socket.on("disconnect", (reason) => this.#changed({ state: "disconnected", reason }));
    this.#socket.on("connect_error", (error: Error & { data?: unknown }) => {
      const data = error.data as { code?: unknown } | undefined;
      this.#changed({ state: "refused", error, code: typeof data?.code === "string" ? data.code : null });
    });
    for (const event of Object.keys(options.events) as (keyof S & string)[]) {
      this.#socket.on<string>(event, (payload: unknown) => this.#arrived(event, payload));
    }
  }

  get connected(): boolean {
    return this.#socket.connected;
  }

  /** `onEvent` and `onChange` are awaited before the next event is handled. */
  open(
    onEvent: <E extends keyof S & string>(event: E, payload: S[E]) => Promise<void> | void,
    onChange: (change: ConnectionChange) => Promise<void> | void,
  ): void {
    this.#onEvent = onEvent;
    this.#onChange = onChange;
    this.#socket.connect();
  }

  /** Connect again after the server refused or closed the connection; socket.io does it only after a break. */
  reconnect(): void {
    if (!this.#closed && !this.#socket.active) this.#socket.connect();
  }

  /** Send an event and return the data of its answer. Rejects at once when the connection breaks. */
  async ask<E extends keyof C & string>(
    event: E,
    payload: C[E] extends ClientEventMap[string] ? C[E]["payload"] : never,
  ): Promise<C[E] extends ClientEventMap[string] ? C[E]["answer"] : never> {
    if (!this.#socket.connected) throw new UnreachableError(`${event}: not connected`);
    const envelope = await this.#emit(event, payload);
    const data = unwrapped(event, envelope);
    return checked(this.#options.shapes, this.#options.answers[event], data, event);
  }

  /** Say goodbye: the server takes a disconnect for leaving. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#onEvent = null;
    this.#onChange = null;
    this.#socket.disconnect();
  }

  #emit(event: string, payload: unknown): Promise<unknown> {
    return new Promise((answer, refuse) => {
      const broke = () => refuse(new UnreachableError(`${event}: the connection broke before the answer`));
      this.#socket.once("disconnect", broke);
      this.#socket.timeout(ANSWER_TIMEOUT_MS).emit(event, payload, (error: Error | null, envelope: unknown) => {
        this.#socket.off("disconnect", broke);
        if (error) refuse(new UnreachableError(`${event}: no answer within ${ANSWER_TIMEOUT_MS / 1000} s`));
        else answer(envelope);
      });
    });
  }

  #arrived(event: keyof S & string, payload: unknown): void {
    this.#queue(event, () => {
      const value = checked<S[typeof event]>(this.#options.shapes, this.#options.events[event], payload, event);
      return this.#onEvent?.(event, value);
    });
  }

  #changed(change: ConnectionChange): void {
    this.#queue(change.state, () => this.#onChange?.(change));
  }

  #queue(what: string, act: () => Promise<void> | void): void {
    this.#order = this.#order.then(act).catch((error: unknown) => {
      const refused = error instanceof RefusedError || error instanceof UnreachableError;
      this.#options.log(`${what}: ${textOf(error)}${refused ? "" : " (unexpected)"}`);
    });
  }
}
