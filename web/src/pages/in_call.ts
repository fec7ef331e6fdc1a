/** A note that this tab is in a call, so that a reload goes straight back. */

export interface InCall {
  readonly name: string;
  readonly microphone: boolean;
  readonly camera: boolean;
}

const KEY = "meeshy.inCall";
type Session = Pick<Storage, "getItem" | "setItem" | "removeItem"> | null;

export function noteInCall(session: Session, note: InCall | null): void {
  try {
    if (note === null) session?.removeItem(KEY);
    else session?.setItem(KEY, JSON.stringify(note));
  } catch {
    // Storage is refused: a reload begins with the page before the call.
  }
}

export function readInCall(session: Session): InCall | null {
  try {
    const found: unknown = JSON.parse(session?.getItem(KEY) ?? "null");
    if (typeof found !== "object" || found === null) return null;
    const { name, microphone, camera } = found as Record<string, unknown>;
    return typeof name === "string" ? { name, microphone: microphone !== false, camera: camera !== false } : null;
  } catch {
    return null;
  }
}
