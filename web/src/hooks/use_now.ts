/** Time for components: a clock that ticks, and one that strikes once. */

import { useEffect, useState } from "react";

/** The present time, renewed every `intervalMs`. */
export function useNow(intervalMs: number, enabled = true): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (!enabled) return;
    const timer = window.setInterval(() => setNow(Date.now()), intervalMs);
    return () => window.clearInterval(timer);
  }, [intervalMs, enabled]);
  return now;
}

/** Draw the component anew at a time of the future; null waits for nothing. */
export function useWakeAt(at: number | null): void {
  const [, wake] = useState(0);
  useEffect(() => {
    if (at === null) return;
    const timer = window.setTimeout(() => wake((count) => count + 1), Math.max(0, at - Date.now()) + 1);
    return () => window.clearTimeout(timer);
  }, [at]);
}
