/**
 * One visit of the page: from the link, through the page before the call, into the call and out of it.
 *
 * Knows nothing of React and nothing of media: what it needs is handed in, so that tests drive it without a browser.
 */

import type { CallClientLike, LocalMedia } from "../call/model";
import { admit, ongoingCall, type Exchange, type OngoingCall } from "../pages/admission";
import { InviteError, type Admission, type Opened } from "../pages/identity";
import { noteInCall, readInCall, type InCall } from "../pages/in_call";

export type Phase =
  | { readonly kind: "no-link" }
  | { readonly kind: "prejoin"; readonly joining: boolean; readonly refusal: InviteError["reason"] | "unknown" | null }
  /** After a reload in a call: straight back. */
  | { readonly kind: "returning" }
  | { readonly kind: "call"; readonly client: CallClientLike };

export interface VisitNeeds {
  readonly exchange: Exchange;
  /** Make a client and let it enter the call; the client's own state says how that goes. */
  readonly enter: (admission: Admission, media: LocalMedia) => Promise<CallClientLike>;
  readonly openMedia: (wish: Pick<InCall, "microphone" | "camera">) => Promise<LocalMedia>;
}

export class Visit {
  readonly link: string | null;
  readonly suggestedName: string | null;
  private phase: Phase;
  private ongoing: OngoingCall | null = null;
  private name = "";
  private forget: () => void = () => undefined;
  private readonly listeners = new Set<() => void>();

  constructor(
    private readonly opened: Opened,
    private readonly needs: VisitNeeds,
  ) {
    this.link = opened.link;
    this.suggestedName = opened.identity.kind === "token" ? opened.identity.name : null;
    this.phase = opened.identity.kind === "none" ? { kind: "no-link" } : PREJOIN;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly current = (): Phase => this.phase;
  readonly ongoingCall = (): OngoingCall | null => this.ongoing;

  /** Begin: straight back into the call after a reload, else ask whether a call goes on. */
  async begin(): Promise<void> {
    const note = readInCall(this.needs.exchange.session);
    if (note !== null && this.phase.kind === "prejoin") {
      this.become({ kind: "returning" });
      await this.enter(note.name, () => this.needs.openMedia(note));
      return;
    }
    this.ongoing = await ongoingCall(this.opened.identity, this.needs.exchange);
    this.notify();
  }

  /** Join under a name. The media is taken only when the link has been accepted. */
  async join(name: string, takeMedia: () => LocalMedia | Promise<LocalMedia>): Promise<void> {
    if (this.phase.kind !== "prejoin" || this.phase.joining) return;
    this.become({ kind: "prejoin", joining: true, refusal: null });
    await this.enter(name, () => Promise.resolve(takeMedia()));
  }

  /** Back to the page before the call. */
  back(): void {
    this.endCall();
    this.become(PREJOIN);
    void this.begin();
  }

  /** Take the call back from another tab. */
  async takeBack(): Promise<void> {
    const wish = this.phase.kind === "call" ? wishOf(this.phase.client) : { microphone: true, camera: true };
    this.endCall();
    this.become({ kind: "returning" });
    await this.enter(this.name, () => this.needs.openMedia(wish));
  }

  /** The tab is closed or loaded anew: leave, but keep the note for the second case. */
  unload(): void {
    this.forget();
    if (this.phase.kind === "call") this.phase.client.close();
  }

  private async enter(name: string, media: () => Promise<LocalMedia>): Promise<void> {
    const { identity } = this.opened;
    if (identity.kind === "none") return;
    this.name = name;
    try {
      const admission = await admit(identity, name, this.needs.exchange);
      const client = await this.needs.enter(admission, await media());
      this.follow(client);
      this.become({ kind: "call", client });
    } catch (failure) {
      noteInCall(this.needs.exchange.session, null);
      const refusal = failure instanceof InviteError ? failure.reason : "unknown";
      this.become({ kind: "prejoin", joining: false, refusal });
    }
  }

  private follow(client: CallClientLike): void {
    const { session } = this.needs.exchange;
    const note = (): void => {
      const { stage, replaced } = client.state;
      if (stage === "ended" || stage === "failed" || replaced) noteInCall(session, null);
      else noteInCall(session, { name: this.name, ...wishOf(client) });
    };
    note();
    this.forget = client.subscribe(note);
  }

  private endCall(): void {
    this.forget();
    noteInCall(this.needs.exchange.session, null);
    if (this.phase.kind === "call") this.phase.client.close();
  }

  private become(phase: Phase): void {
    this.phase = phase;
    this.notify();
  }

  private notify(): void {
    for (const listener of [...this.listeners]) listener();
  }
}

const PREJOIN: Phase = { kind: "prejoin", joining: false, refusal: null };

function wishOf(client: CallClientLike): Pick<InCall, "microphone" | "camera"> {
  const { microphone, camera } = client.state.local;
  return { microphone: microphone !== "off", camera: camera === "on" };
}
