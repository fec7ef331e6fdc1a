/** Joining has failed: why, what a person can do, and what was tried. */

import type { ReactNode } from "react";
import type { Failure } from "../call/model";
import { DiagnosisView } from "../components/DiagnosisView";
import { useTranslator } from "../messages/language";
import { MessagePage } from "./MessagePage";

interface Props {
  readonly failure: Failure | null;
  readonly retrying: boolean;
  readonly onRetry: () => void;
  readonly onBack: () => void;
}

export function FailurePage({ failure, retrying, onRetry, onBack }: Props): ReactNode {
  const { t } = useTranslator();
  const code = failure?.code ?? "unknown";
  return (
    <MessagePage name="failure" title={t("failure.title")}>
      <div className="failure" data-failure={code}>
        <p className="failure-what">{t(`failure.${code}`)}</p>
        <p>{t(`failure.${code}.remedy`)}</p>
        {failure !== null && <p className="muted failure-detail">{failure.message}</p>}
      </div>
      <div className="button-row">
        <button
          type="button"
          className="button button-primary"
          aria-disabled={retrying}
          data-action="retry"
          onClick={() => {
            if (!retrying) onRetry();
          }}
        >
          {retrying && <span className="spinner" aria-hidden="true" />}
          {t(retrying ? "failure.retrying" : "failure.retry")}
        </button>
        <button type="button" className="button" onClick={onBack}>
          {t("failure.back")}
        </button>
      </div>
      {failure?.diagnosis != null && <DiagnosisView diagnosis={failure.diagnosis} />}
    </MessagePage>
  );
}
