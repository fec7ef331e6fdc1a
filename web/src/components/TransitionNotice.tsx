/** The notice of a change of path, its failure and the way to try again. */

import type { ReactNode } from "react";
import type { SwitchState } from "../call/model";
import { useNow } from "../hooks/use_now";
import { useTranslator } from "../messages/language";
import { Icon } from "./Icon";
import { noticeOf } from "./transition_notice";

interface Props {
  readonly transition: SwitchState | null;
  readonly onRetry: () => void;
}

/** How often the notice looks at the clock: it appears within this time after it is due. */
const TICK_MS = 50;

export function TransitionNotice({ transition, onRetry }: Props): ReactNode {
  if (transition === null) return null;
  return <Notice key={transition.since} transition={transition} onRetry={onRetry} />;
}

function Notice({
  transition,
  onRetry,
}: {
  readonly transition: SwitchState;
  readonly onRetry: () => void;
}): ReactNode {
  const { t } = useTranslator();
  const now = useNow(TICK_MS, transition.failed === null);
  const { notice } = noticeOf(transition, now);
  if (notice === null) return null;
  if (notice.failed) {
    return (
      <div className="notice notice-warning" role="alert" data-notice="switch-failed">
        <Icon name="warning" />
        <p>{t(notice.text)}</p>
        <button type="button" className="button button-small" onClick={onRetry}>
          {t("switch.retry")}
        </button>
      </div>
    );
  }
  return (
    <div className="notice notice-switch" role="status" data-notice="switching">
      <span className="spinner" aria-hidden="true" />
      <p>
        {t(notice.text)}
        {notice.attempt > 1 && (
          <span className="notice-detail"> {t("switch.attempt", { attempt: notice.attempt })}</span>
        )}
      </p>
      <span className="progress" aria-hidden="true" />
    </div>
  );
}
