/** What a client's stage looks like: joining, the call itself, its end, its failure. */

import { useEffect, type ReactNode } from "react";
import type { CallClientLike } from "../call/model";
import { CallInterface } from "../components/CallInterface";
import { useAction, useCallState } from "../hooks/use_call";
import { useTranslator } from "../messages/language";
import { EndPage } from "./EndPage";
import { FailurePage } from "./FailurePage";
import { MessagePage } from "./MessagePage";
import "../styles/call.css";
import "../styles/panels.css";

interface Props {
  readonly client: CallClientLike;
  readonly link: string | null;
  /** Back to the page before the call. */
  readonly onBack: () => void;
  /** Take the call back from the other tab. */
  readonly onTakeBack: () => void;
}

export function CallStages({ client, link, onBack, onTakeBack }: Props): ReactNode {
  const { t } = useTranslator();
  const state = useCallState(client);
  const { run, busy } = useAction();
  useSoundAfterGesture(client);
  if (state.replaced) {
    return (
      <MessagePage name="replaced" title={t("replaced.title")} hint={t("replaced.hint")}>
        <button type="button" className="button button-primary" onClick={onTakeBack}>
          {t("replaced.here")}
        </button>
      </MessagePage>
    );
  }
  switch (state.stage) {
    case "ended":
      return <EndPage summary={state.summary} onAgain={onBack} />;
    case "failed":
      return (
        <FailurePage
          failure={state.failure}
          retrying={busy}
          onRetry={() => run(() => client.retry())}
          onBack={onBack}
        />
      );
    case "idle":
    case "joining":
      return (
        <MessagePage name="joining" title={t("prejoin.joining")}>
          <span className="spinner spinner-large" aria-hidden="true" />
        </MessagePage>
      );
    case "in-call":
    case "reconnecting":
      return <CallInterface client={client} link={link} />;
  }
}

/** Browsers start sound only after a click or a key; after a reload there has been none yet. */
function useSoundAfterGesture(client: CallClientLike): void {
  useEffect(() => {
    const resume = (): void => void client.resumeAudio().catch(() => undefined);
    resume();
    window.addEventListener("pointerdown", resume);
    window.addEventListener("keydown", resume);
    return () => {
      window.removeEventListener("pointerdown", resume);
      window.removeEventListener("keydown", resume);
    };
  }, [client]);
}
