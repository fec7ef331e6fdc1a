/**
 * A room on the media server to try the ways to it: that of a call which nobody else is in.
 *
 * Only conversations made for checks are used (`check-…`, as `meeshy doctor --client` makes them): in any other one a check would ring people.
 */

import { Gateway } from "../call/gateway";
import type { ProbeRoom } from "../diagnosis/media_probe";
import { admit, type Exchange } from "./admission";
import type { Identity } from "./identity";

export interface CheckCall {
  readonly token: string;
  readonly rooms: readonly ProbeRoom[];
  readonly iceServers: readonly RTCIceServer[];
  /** End the call. Idempotent. */
  close(): void;
}

const NAME = "Connection check";
const CONNECT_WITHIN_MS = 10_000;

export function isForChecks(conversationId: string): boolean {
  return conversationId.startsWith("check-");
}

/** Begin the call of a check. Null when the link is for people, or carries no invitation. */
export async function openCheckCall(identity: Identity, exchange: Exchange): Promise<CheckCall | null> {
  if (identity.kind !== "invite") return null;
  // A guest of its own, not the one of this tab.
  const admission = await admit(identity, NAME, { ...exchange, session: null });
  if (!isForChecks(admission.conversationId)) return null;
  const gateway = new Gateway({ url: location.origin, token: admission.token, log: () => undefined });
  try {
    await connected(gateway);
    // A group call that expects a third participant begins on the media server.
    const { conversationId } = admission;
    const begun = await gateway.ask("call:initiate", { conversationId, type: "audio", expectedParticipants: 3 });
    const { mediaServerUrl: url, mediaToken: token, callId, participantId, iceServers } = begun;
    const rooms = url === null || token === null ? [] : [{ url, token, callId, participantId }];
    return {
      token: gateway.token,
      rooms,
      iceServers: iceServers as readonly RTCIceServer[],
      close: () => gateway.close(),
    };
  } catch (failure) {
    gateway.close();
    throw failure;
  }
}

function connected(gateway: Gateway): Promise<void> {
  return new Promise((done, failed) => {
    const timer = setTimeout(() => failed(new Error("the gateway does not answer")), CONNECT_WITHIN_MS);
    gateway.open(
      () => undefined,
      (change) => {
        if (change.state === "connected") done();
        else failed(change.state === "refused" ? change.error : new Error(change.reason));
        clearTimeout(timer);
      },
    );
  });
}
