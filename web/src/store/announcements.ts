/**
 * Short sentences for screen readers: who came and went, what happened to the connection.
 *
 * Pure: compares two states of a call. Many who come at once make one sentence, so that nobody has to hear fifty.
 */

import type { CallState, ParticipantState } from "../call/model";
import type { Translator } from "../messages/catalogue";

export function announce(before: CallState, after: CallState, translator: Translator): readonly string[] {
  const { t } = translator;
  const said: string[] = [];
  if (before.stage === "in-call" && after.stage === "reconnecting") said.push(t("live.reconnecting"));
  if (before.stage === "reconnecting" && after.stage === "in-call") said.push(t("live.reconnected"));
  if (before.stage !== "in-call" || after.stage !== "in-call") return said;
  const came = missing(after.participants, before.participants);
  const left = missing(before.participants, after.participants);
  if (came.length > 0) said.push(t("live.joined", { count: came.length, name: names(came, translator) }));
  if (left.length > 0) said.push(t("live.left", { count: left.length, name: names(left, translator) }));
  for (const one of after.participants) {
    const then = before.participants.find((other) => other.id === one.id);
    if (one.screenEnabled && !one.self && then?.screenEnabled === false)
      said.push(t("live.sharing", { name: one.name }));
  }
  return said;
}

function missing(from: readonly ParticipantState[], others: readonly ParticipantState[]): readonly ParticipantState[] {
  const there = new Set(others.map((one) => one.id));
  return from.filter((one) => !one.self && !there.has(one.id));
}

function names(people: readonly ParticipantState[], translator: Translator): string {
  if (people.length > 3) return translator.t("call.people", { count: people.length });
  return new Intl.ListFormat(translator.language).format(people.map((one) => one.name));
}
