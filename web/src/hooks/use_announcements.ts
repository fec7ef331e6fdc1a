/** What a screen reader is to say of the changes of a call. */

import { useEffect, useState } from "react";
import type { CallClientLike } from "../call/model";
import { useTranslator } from "../messages/language";
import { announce } from "../store/announcements";

export function useAnnouncements(client: CallClientLike): string {
  const translator = useTranslator();
  const [said, setSaid] = useState("");
  useEffect(() => {
    let before = client.state;
    return client.subscribe(() => {
      const after = client.state;
      const sentences = announce(before, after, translator);
      before = after;
      if (sentences.length > 0) setSaid(sentences.join(". "));
    });
  }, [client, translator]);
  return said;
}
