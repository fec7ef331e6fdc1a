/**
 * The path through the media server by itself, for pages that need no call of the gateway: a hook for the connection, one for what is sent, one for
 * what comes.
 *
 * A page that has a call uses `useCall`: there the gateway decides which path is built, and the client owns the connection.
 */

import { useEffect, useState, useSyncExternalStore } from "react";
import type { RemoteTrack } from "../media/arrival";
import type { LocalTracks } from "../media/source";
import { SFUConnectionManager, type SFUOptions } from "../sfu/sfu_connection_manager";

/** What a connection needs besides the call and its capabilities. Keep the object while nothing in it changes. */
export type SFUSurroundings = Pick<SFUOptions, "url" | "token" | "participantId" | "freshToken"> &
  Partial<Pick<SFUOptions, "iceServers" | "iceTransportPolicy" | "log">>;

export type SFUStage = "connecting" | "connected" | "disconnected" | "lost";

/** What of the manager the hooks use. */
export type Manager = Pick<SFUConnectionManager, "open" | "setTracks" | "watch" | "close" | "remoteTracks">;

export interface SFUSnapshot {
  readonly stage: SFUStage;
  /** Why it is lost; null while it is not. */
  readonly reason: string | null;
  readonly tracks: readonly RemoteTrack[];
}

const NOTHING: LocalTracks = {
  microphone: { track: null, muted: false },
  camera: { track: null, muted: false },
  screen: { track: null, muted: false },
};
const BEFORE: SFUSnapshot = { stage: "connecting", reason: null, tracks: [] };

/** One connection, from its opening to its end, as something that components can subscribe to. */
export class SFUConnection {
  readonly manager: Manager;
  private snapshot = BEFORE;
  private readonly listeners = new Set<() => void>();

  constructor(
    callId: string,
    rtpCapabilities: SFUOptions["rtpCapabilities"],
    surroundings: SFUSurroundings,
    make: (options: SFUOptions) => Manager,
  ) {
    const refresh = (): void => this.change({ tracks: this.manager.remoteTracks });
    this.manager = make({
      iceServers: [],
      log: () => undefined,
      ...surroundings,
      callId,
      rtpCapabilities,
      producers: [], // the answer to joining names them
      tracks: NOTHING,
      paused: false,
      visible: null,
      onTrack: refresh,
      onTrackEnded: refresh,
      onLost: (reason) => this.change({ stage: "lost", reason }),
      onState: (connected) => this.change({ stage: connected ? "connected" : "disconnected" }),
    });
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
  readonly current = (): SFUSnapshot => this.snapshot;

  async open(): Promise<void> {
    try {
      await this.manager.open();
      this.change({ stage: "connected", tracks: this.manager.remoteTracks });
    } catch (failure) {
      this.change({ stage: "lost", reason: failure instanceof Error ? failure.message : String(failure) });
    }
  }

  private change(part: Partial<SFUSnapshot>): void {
    if (this.snapshot.stage === "lost") return; // another one has to be made
    this.snapshot = { ...this.snapshot, ...part };
    for (const listener of [...this.listeners]) listener();
  }
}

const makeManager = (options: SFUOptions): Manager => new SFUConnectionManager(options);

/** Connect to a call on the media server while the component is there. Null until the first effect has run. */
export function useSFUConnection(
  callId: string,
  rtpCapabilities: SFUOptions["rtpCapabilities"],
  surroundings: SFUSurroundings,
  make: (options: SFUOptions) => Manager = makeManager,
): SFUConnection | null {
  const [connection, setConnection] = useState<SFUConnection | null>(null);
  useEffect(() => {
    const made = new SFUConnection(callId, rtpCapabilities, surroundings, make);
    void Promise.resolve().then(() => setConnection(made));
    void made.open();
    return () => made.manager.close();
  }, [callId, rtpCapabilities, surroundings, make]);
  return connection;
}

/** The state of a connection. */
export function useSFUState(connection: SFUConnection | null): SFUSnapshot {
  return useSyncExternalStore(connection?.subscribe ?? never, connection?.current ?? before);
}

/** Send these tracks: one that is null is not sent, one that is muted is paused. Returns why that failed, else null. */
export function useSFUProducers(connection: SFUConnection | null, tracks: LocalTracks): string | null {
  const [error, setError] = useState<string | null>(null);
  const { stage } = useSFUState(connection);
  const { microphone, camera, screen } = tracks;
  const ready = stage === "connected";
  useEffect(() => {
    if (connection === null || !ready) return;
    connection.manager.setTracks({ microphone, camera, screen }).then(
      () => setError(null),
      (failure: unknown) => setError(failure instanceof Error ? failure.message : String(failure)),
    );
  }, [connection, ready, microphone, camera, screen]);
  return error;
}

/** Receive what the others send; video only of those who are visible, when they are named. */
export function useSFUConsumers(
  connection: SFUConnection | null,
  visible: ReadonlySet<string> | null = null,
): readonly RemoteTrack[] {
  const { tracks } = useSFUState(connection);
  useEffect(() => connection?.manager.watch(visible), [connection, visible]);
  return tracks;
}

const never = (): (() => void) => () => undefined;
const before = (): SFUSnapshot => BEFORE;
