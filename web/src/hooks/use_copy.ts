/** Copy a text, and say for a moment that it was copied. */

import { useCallback, useEffect, useState } from "react";

const SHOWN_MS = 2000;

export interface Copy {
  readonly copy: (text: string) => void;
  readonly copied: boolean;
  /** The text, when the browser refused: to be copied by hand. */
  readonly refused: string | null;
}

export function useCopy(): Copy {
  const [copied, setCopied] = useState(false);
  const [refused, setRefused] = useState<string | null>(null);
  useEffect(() => {
    if (!copied) return;
    const timer = window.setTimeout(() => setCopied(false), SHOWN_MS);
    return () => window.clearTimeout(timer);
  }, [copied]);
  const copy = useCallback((text: string) => {
    const clipboard = (navigator as Partial<Navigator>).clipboard;
    const written = clipboard === undefined ? Promise.reject(new Error("no clipboard")) : clipboard.writeText(text);
    written.then(
      () => {
        setCopied(true);
        setRefused(null);
      },
      () => setRefused(text),
    );
  }, []);
  return { copy, copied, refused };
}
