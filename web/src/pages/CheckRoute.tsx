/** The check with all it needs: the call of the check, and the library's checks in it. */

import { useCallback, type ReactNode } from "react";
import type { Check, Diagnosis } from "../call/model";
import { runChecks, type CheckConfig } from "../diagnosis/diagnosis";
import type { Exchange } from "./admission";
import { CheckPage } from "./CheckPage";
import { openCheckCall, type CheckCall } from "./check_room";
import type { Identity } from "./identity";

interface Props {
  readonly identity: Identity;
  readonly exchange: Exchange;
}

export function CheckRoute({ identity, exchange }: Props): ReactNode {
  const run = useCallback(
    (onProgress: (checks: readonly Check[]) => void) => runInCall(() => openCheckCall(identity, exchange), onProgress),
    [identity, exchange],
  );
  return <CheckPage run={run} />;
}

/** Without a call the ways to the media server are skipped; the other checks say why there is none. */
export async function runInCall(
  open: () => Promise<CheckCall | null>,
  onProgress: (checks: readonly Check[]) => void,
  check: (config: CheckConfig, onProgress: (checks: readonly Check[]) => void) => Promise<Diagnosis> = runChecks,
): Promise<Diagnosis> {
  const call = await open().catch(() => null);
  try {
    const found = call === null ? {} : { token: call.token, rooms: call.rooms, iceServers: call.iceServers };
    return await check(found, onProgress);
  } finally {
    call?.close();
  }
}
