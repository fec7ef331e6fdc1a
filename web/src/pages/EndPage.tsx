/** After the call: how long it was, how good it was, and the way back in. */

import type { ReactNode } from "react";
import type { CallSummary } from "../call/model";
import { milliseconds, percent } from "../components/stats_format";
import { useTranslator } from "../messages/language";
import { MessagePage } from "./MessagePage";

interface Props {
  readonly summary: CallSummary | null;
  readonly onAgain: () => void;
}

export type Verdict = "good" | "fair" | "poor" | "unknown";

/** What the figures of a call mean for those who were in it. */
export function verdictOf({ lossRatio, rttMs, longestFreezeMs }: CallSummary): Verdict {
  if (lossRatio === null && rttMs === null && longestFreezeMs === null) return "unknown";
  const loss = lossRatio ?? 0;
  const rtt = rttMs ?? 0;
  const freeze = longestFreezeMs ?? 0;
  if (loss > 0.05 || rtt > 400 || freeze > 3000) return "poor";
  return loss > 0.01 || rtt > 200 || freeze > 800 ? "fair" : "good";
}

export function EndPage({ summary, onAgain }: Props): ReactNode {
  const translator = useTranslator();
  const { t, number, spokenDuration } = translator;
  const title = t(summary?.reason === "left" ? "end.left" : "end.title");
  const figures: readonly (readonly [string, string])[] =
    summary === null
      ? []
      : [
          [t("end.duration"), spokenDuration(summary.durationS)],
          ...(summary.lossRatio === null ? [] : [[t("end.loss"), percent(summary.lossRatio, translator)] as const]),
          ...(summary.rttMs === null ? [] : [[t("end.rtt"), milliseconds(summary.rttMs, translator)] as const]),
          ...(summary.longestFreezeMs === null || summary.longestFreezeMs === 0
            ? []
            : [[t("end.freeze"), milliseconds(summary.longestFreezeMs, translator)] as const]),
          ...(summary.switches === 0 ? [] : [[t("end.switches"), number(summary.switches)] as const]),
        ];
  const verdict = summary === null ? null : verdictOf(summary);
  return (
    <MessagePage name="end" title={title} {...(verdict === null ? {} : { hint: t(`end.verdict.${verdict}`) })}>
      <dl className="summary" data-verdict={verdict ?? ""}>
        {figures.map(([label, figure]) => (
          <div key={label}>
            <dt>{label}</dt>
            <dd>{figure}</dd>
          </div>
        ))}
      </dl>
      <button type="button" className="button button-primary" onClick={onAgain} data-action="join-again">
        {t("end.again")}
      </button>
    </MessagePage>
  );
}
