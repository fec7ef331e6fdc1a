/** The microphone's switch: the last wish wins, however fast wishes follow each other. */

import { useCallback, useRef } from "react";
import type { CallClientLike } from "../call/model";

/** Push to talk may ask for off before on has been carried out; the two must not overtake each other. */
export function useMicrophone(client: CallClientLike, onError: (failure: unknown) => void): (on: boolean) => void {
  const wish = useRef<boolean | null>(null);
  const running = useRef(false);
  return useCallback(
    (on: boolean) => {
      wish.current = on;
      if (running.current) return;
      running.current = true;
      void (async () => {
        while (wish.current !== null) {
          const next: boolean = wish.current;
          wish.current = null;
          await client.setMicrophone(next).catch(onError);
        }
        running.current = false;
      })();
    },
    [client, onError],
  );
}
