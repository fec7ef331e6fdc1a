/** Make a client for an admission and let it enter the call. In a file of its own, so that the library is fetched only then. */

import { CallClient } from "../call/call_client";
import type { CallClientLike, LocalMedia } from "../call/model";
import type { Admission } from "./identity";

/** The client's own state says how entering goes, so nobody waits for it here. */
export function enterCall(admission: Admission, media: LocalMedia): CallClientLike {
  const client = new CallClient({ token: admission.token });
  client.enter(admission.conversationId, media).catch(() => undefined); // the state says why
  return client;
}
