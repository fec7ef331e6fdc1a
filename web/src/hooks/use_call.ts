/** A call as a component sees it: its state, drawn anew at each change, and the client to act on it. */

import { useCallback, useRef, useState, useSyncExternalStore } from "react";
import type { CallClientLike, CallState } from "../call/model";

/** The state of a client, as an immutable snapshot. */
export function useCallState(client: CallClientLike): CallState {
  const subscribe = useCallback((listener: () => void) => client.subscribe(listener), [client]);
  const snapshot = useCallback(() => client.state, [client]);
  return useSyncExternalStore(subscribe, snapshot);
}

export interface Action {
  /** Run it; further ones are ignored until it is over. */
  readonly run: (action: () => Promise<void>) => void;
  readonly busy: boolean;
  /** Why the last one failed; null when it did not. */
  readonly error: string | null;
  readonly dismiss: () => void;
}

/** Run actions of a client one at a time, and keep what went wrong for the page to show. */
export function useAction(): Action {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const running = useRef(false);
  const run = useCallback((action: () => Promise<void>) => {
    if (running.current) return;
    running.current = true;
    setBusy(true);
    setError(null);
    action()
      .catch((failure: unknown) => setError(failure instanceof Error ? failure.message : String(failure)))
      .finally(() => {
        running.current = false;
        setBusy(false);
      });
  }, []);
  const dismiss = useCallback(() => setError(null), []);
  return { run, busy, error, dismiss };
}

export interface UseCall extends Action {
  readonly state: CallState;
  readonly client: CallClientLike;
}

/** A client's state and its actions. */
export function useCall(client: CallClientLike): UseCall {
  const state = useCallState(client);
  const action = useAction();
  return { ...action, state, client };
}
