/** Push to talk for a page: the space bar, wherever the focus is, unless an element needs it. */

import { useEffect, useRef, useState } from "react";
import { SILENT, talkStep, usesTalkKey, type TalkInput } from "../components/push_to_talk";
import type { LocalState } from "../call/model";

/** Returns whether the key is held just now. */
export function usePushToTalk(
  microphone: LocalState["microphone"],
  setMicrophone: (on: boolean) => void,
  enabled: boolean,
): boolean {
  const [talking, setTalking] = useState(false);
  const latest = useRef({ microphone, setMicrophone });
  useEffect(() => {
    latest.current = { microphone, setMicrophone };
  });
  useEffect(() => {
    if (!enabled) return;
    let state = SILENT;
    const take = (input: TalkInput): boolean => {
      const step = talkStep(state, input, latest.current.microphone);
      state = step.state;
      setTalking(state.talking);
      if (step.microphone !== null) latest.current.setMicrophone(step.microphone);
      return step.consumed;
    };
    const down = (event: KeyboardEvent): void => {
      const modified = event.ctrlKey || event.altKey || event.metaKey || event.shiftKey;
      const taken = usesTalkKey(event.target);
      if (take({ kind: "down", code: event.code, repeat: event.repeat, modified, taken })) event.preventDefault();
    };
    const up = (event: KeyboardEvent): void => {
      if (take({ kind: "up", code: event.code })) event.preventDefault();
    };
    const blur = (): void => void take({ kind: "blur" });
    window.addEventListener("keydown", down);
    window.addEventListener("keyup", up);
    window.addEventListener("blur", blur);
    return () => {
      blur();
      window.removeEventListener("keydown", down);
      window.removeEventListener("keyup", up);
      window.removeEventListener("blur", blur);
    };
  }, [enabled]);
  return talking;
}
