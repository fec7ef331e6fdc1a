/** The page that tries what a call needs, without a call: `meeshy doctor --client` prints its link. */

import { useState, type ReactNode } from "react";
import type { Check, Diagnosis } from "../call/model";
import { CheckList, DiagnosisView } from "../components/DiagnosisView";
import { useTranslator } from "../messages/language";
import "../styles/panels.css";
import { MessagePage } from "./MessagePage";

interface Props {
  /** Run all checks; reports those that are done while it goes on. */
  readonly run: (onProgress: (checks: readonly Check[]) => void) => Promise<Diagnosis>;
}

type Progress =
  | { readonly kind: "waiting" }
  | { readonly kind: "running"; readonly checks: readonly Check[] }
  | { readonly kind: "done"; readonly diagnosis: Diagnosis }
  | { readonly kind: "broken"; readonly reason: string };

export function CheckPage({ run }: Props): ReactNode {
  const { t } = useTranslator();
  const [progress, setProgress] = useState<Progress>({ kind: "waiting" });
  const running = progress.kind === "running";
  const start = (): void => {
    if (running) return;
    setProgress({ kind: "running", checks: [] });
    run((checks) => setProgress({ kind: "running", checks })).then(
      (diagnosis) => setProgress({ kind: "done", diagnosis }),
      (failure: unknown) => setProgress({ kind: "broken", reason: String(failure) }),
    );
  };
  return (
    <MessagePage name="check" title={t("check.title")} hint={t("check.intro")}>
      <button
        type="button"
        className="button button-primary"
        aria-disabled={running}
        data-action="check"
        onClick={start}
      >
        {running && <span className="spinner" aria-hidden="true" />}
        {t(running ? "diagnosis.running" : progress.kind === "waiting" ? "check.start" : "check.again")}
      </button>
      <div className="check-results" role="status" data-progress={progress.kind}>
        {progress.kind === "running" && <CheckList checks={progress.checks} />}
        {progress.kind === "done" && <Result diagnosis={progress.diagnosis} />}
        {progress.kind === "broken" && (
          <p className="notice notice-warning">{t("control.failed", { reason: progress.reason })}</p>
        )}
      </div>
    </MessagePage>
  );
}

function Result({ diagnosis }: { readonly diagnosis: Diagnosis }): ReactNode {
  const { t } = useTranslator();
  const failed = diagnosis.checks.filter((check) => check.state === "failed").length;
  return (
    <>
      <p className={`notice ${failed > 0 ? "notice-warning" : ""}`} data-failed={failed}>
        {failed === 0 ? t("check.done.passed") : t("check.done.failed", { count: failed })}
      </p>
      <DiagnosisView diagnosis={diagnosis} />
    </>
  );
}
