/**
 * Push to talk: while the key is held a muted microphone is on, and muted again when it is released.
 *
 * Pure; the hook of the call page feeds it with key events.
 */

export const TALK_KEY = "Space";

export interface TalkState {
  /** The key is held and it was this that switched the microphone on. */
  readonly talking: boolean;
}

export const SILENT: TalkState = { talking: false };

export type TalkInput =
  | {
      readonly kind: "down";
      readonly code: string;
      readonly repeat: boolean;
      readonly modified: boolean;
      readonly taken: boolean;
    }
  | { readonly kind: "up"; readonly code: string }
  /** The window has lost the focus: the release of the key will not be seen. */
  | { readonly kind: "blur" };

export interface TalkStep {
  readonly state: TalkState;
  /** What to do with the microphone; null leaves it alone. */
  readonly microphone: boolean | null;
  /** The key is ours: it must not press a button or scroll the page. */
  readonly consumed: boolean;
}

export function talkStep(state: TalkState, input: TalkInput, microphone: "on" | "muted" | "off"): TalkStep {
  if (input.kind === "blur") return state.talking ? stop() : { state, microphone: null, consumed: false };
  if (input.code !== TALK_KEY) return { state, microphone: null, consumed: false };
  if (input.kind === "up") return state.talking ? stop() : { state, microphone: null, consumed: false };
  if (state.talking) return { state, microphone: null, consumed: true };
  const begins = microphone === "muted" && !input.repeat && !input.modified && !input.taken;
  return begins
    ? { state: { talking: true }, microphone: true, consumed: true }
    : { state, microphone: null, consumed: false };
}

function stop(): TalkStep {
  return { state: SILENT, microphone: false, consumed: true };
}

/** Whether an element uses the key itself: text fields always, buttons only when reached by the keyboard. */
export function usesTalkKey(target: EventTarget | null): boolean {
  if (!(target instanceof Element)) return false;
  if (target.closest("input, textarea, select, [contenteditable], [role=menu], [role=menuitemradio], dialog") !== null)
    return true;
  const button = target.closest("button, a[href], summary, [role=button]");
  return button !== null && button.matches(":focus-visible");
}
