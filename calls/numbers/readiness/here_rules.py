"""What speaks against moving a number because of this side: who answers, under what, with what.

Pure: assistant, secrets, policy, connection, the model's limits, a person, and the doctor. It must
not judge what is at Twilio (``twilio_rules``).
"""

from __future__ import annotations

from collections.abc import Iterator

from calls.numbers.readiness.capacity import needed, with_margin
from calls.numbers.readiness.facts import Answering, Audible, Limit, ModelUse, NumberFacts
from calls.numbers.readiness.findings import Found, Link, cut
from calls.numbers.readiness.twilio_rules import peak_words


def here_findings(facts: NumberFacts) -> Iterator[Found]:
    """Yield what speaks against the move on this side, in no order; a row is taken for granted."""
    if not facts.is_readable:
        cause = "something behind the number was sealed with a key that FIELD_ENCRYPTION_KEYS no "
        cause += "longer holds, so it is not known who would answer"
        short, step = "Its row cannot be read: a key is missing", "See the doctor about the keys"
        yield Found("not_readable", "unknown", "number", short, cause, step, "doctor")
        return
    yield from answering_findings(facts)
    yield from _secrets(facts)
    yield from _policy(facts)
    yield from _connection(facts)
    yield from _health(facts)
    if not facts.has_person:
        cause = "there is no operator destination and there are no last words: when no model can "
        cause += "be reached, callers hear the platform's own sentence and the call ends"
        short = "No person and no last words for when no model answers"
        step = "Choose an operator destination, or write last words"
        link: Link = "number"
        yield Found("no_person", "look", "operator_desk", short, cause, step, link, facts.number_id)


def answering_findings(facts: NumberFacts) -> Iterator[Found]:
    """Yield what is found of who would answer; the field of each is ``assistant``."""
    who = facts.answering
    if who is None:
        if facts.asks_server:
            cause = "the number's server names the assistant of each call"
            yield Found("asks_server", "note", "assistant", "A server says who answers", cause)
            return
        cause = "the number has no assistant, no squad that can answer, and no server that is asked"
        short, step = "Nobody would answer it here", "Choose an assistant or a squad"
        yield Found("no_assistant", "blocks", "assistant", short, cause, step, *_at(facts))
        return
    if who.is_deleted:
        short = cut(f"Its assistant {who.name} was deleted")
        cause = f"the assistant {who.name} was deleted, so nobody would answer"
        step = "Choose another assistant"
        yield Found("assistant_deleted", "blocks", "assistant", short, cause, step, *_at(facts))
        return
    if who.at is None:
        short = cut(f"Nothing of its assistant {who.name} is published")
        cause = f"the assistant {who.name} has no published revision, so it cannot answer"
        step = "Publish the assistant"
        yield _of_assistant("assistant_unpublished", "blocks", who, short, cause, step)
        return
    yield from _documents(who)


def _documents(who: Answering) -> Iterator[Found]:
    if who.wrong:
        short = cut(f"Its assistant needs a correction: {who.wrong[0]}")
        cause = " ".join(who.wrong)
        step = "Correct the assistant or its tool"
        yield _of_assistant("assistant_wrong", "blocks", who, short, cause, step)
    yield from _audible(who)
    if who.unsupported:
        cause = f"{who.unsupported} of the assistant's fields do nothing here yet"
        short = "Some of its assistant's fields do nothing here"
        yield _of_assistant("assistant_unsupported", "note", who, short, cause, "")


def _audible(who: Answering) -> Iterator[Found]:
    fresh = [each for each in who.audible if each.accepted is None]
    if fresh:
        short = f"Callers hear {_things(fresh)} differently than at Vapi"
        cause = " ".join(each.shown() for each in fresh)
        step = "Listen to the assistant, then change what should not differ, and accept the rest"
        yield Found("assistant_audible", "look", "assistant", short, cause, step, "accept")
    accepted = [each for each in who.audible if each.accepted is not None]
    if accepted:
        short = f"{_things(accepted)} that callers hear differently: accepted"
        cause = " ".join(map(_acceptance, accepted))
        yield _of_assistant("assistant_accepted", "note", who, short, cause, "")


def _acceptance(each: Audible) -> str:
    by = each.accepted
    assert by is not None, "only accepted ones are told of here"
    return f"{each.shown()} (accepted by {by.who}, {by.at:%Y-%m-%d %H:%M %Z}: {by.why})"


def _things(audible: list[Audible]) -> str:
    return "1 thing" if len(audible) == 1 else f"{len(audible)} things"


def _of_assistant(
    code: str, weight: str, who: Answering, short: str, cause: str, step: str
) -> Found:
    return Found(code, weight, "assistant", short, cause, step, "assistant", who.assistant_id)  # type: ignore[arg-type]  # literals above


def _at(facts: NumberFacts) -> tuple[Link, str]:
    return "number", facts.number_id


def _secrets(facts: NumberFacts) -> Iterator[Found]:
    secrets = facts.secrets
    if secrets is None:
        cause = "a document could not be read, so it is not known which secrets are missing"
        short, step = "Which secrets are missing is not known", "See the doctor about the keys"
        yield Found("secrets_unknown", "unknown", "secrets", short, cause, step, "doctor")
        return
    if secrets.missing:
        count = len(secrets.missing)
        short = "A secret is missing" if count == 1 else f"{count} secrets are missing"
        short = cut(f"{short}: {secrets.missing[0]}")
        cause = f"missing: {', '.join(secrets.missing)}; servers will refuse calls of tools"
        step = "Enter what is missing"
        yield Found("secrets_missing", "blocks", "secrets", short, cause, step, "secrets")
    if secrets.perhaps:
        short = cut(f"A server may want a secret: {secrets.perhaps[0]}")
        cause = f"perhaps missing: {', '.join(secrets.perhaps)}; the export does not say"
        step = "Enter it, or check the tool's server"
        yield Found("secrets_perhaps", "look", "secrets", short, cause, step, "secrets")


def _policy(facts: NumberFacts) -> Iterator[Found]:
    policy = facts.policy
    if policy is None:
        cause = "the number has no call policy, so it is not said what callers are told"
        short, step = "It has no call policy", "Choose a call policy"
        yield Found("no_policy", "blocks", "policy", short, cause, step, *_at(facts))
        return
    link: Link = "policy"
    if not policy.has_wording:
        cause = f"the call policy {policy.name} has no line that is played before the assistant"
        short, step = "Its call policy has no wording", "Write the line that callers hear first"
        yield Found(
            "policy_wordless", "blocks", "policy", short, cause, step, link, policy.policy_id
        )
    elif policy.reviewed_at is None:
        cause = f"the call policy {policy.name} is not marked as reviewed, and until then the "
        cause += "number cannot leave Vapi (design.md 11)"
        short, step = "Its call policy is not reviewed", "Have it reviewed, then mark it"
        yield Found(
            "policy_unreviewed", "blocks", "policy", short, cause, step, link, policy.policy_id
        )
    if policy.lacks_person:
        cause = f"the call policy {policy.name} hands callers who do not agree to a person, and "
        cause += "the number has no operator destination"
        short = "Its policy promises a person, and none is named"
        step = "Choose an operator destination"
        yield Found("policy_no_person", "blocks", "operator_desk", short, cause, step, *_at(facts))


def _connection(facts: NumberFacts) -> Iterator[Found]:
    row = facts.connection
    if row is None:
        cause = "the number names no model connection and the organisation has no default one"
        short, step = "No model connection", "Add a model connection and make it the default"
        yield Found("no_connection", "blocks", "connection", short, cause, step, "connection")
        return
    if row.forbidden:
        cause = f"{row.forbidden} ({row.name})"
        short = cut(f"Contract: {row.forbidden}")
        step = "Choose a connection whose contract allows it, or enter the contract there"
        yield Found(
            "contract", "blocks", "connection", short, cause, step, "connection", row.connection_id
        )
    yield from _limits(facts.model, row.model)


def _limits(use: ModelUse, model: str) -> Iterator[Found]:
    """Compare what the busiest moment of last month would use with what the provider allows."""
    peak = use.peak
    known = [
        (name, limit, each)
        for name, limit, each in (
            ("tokens", use.tokens, use.tokens_per_call),
            ("responses", use.requests, use.requests_per_call),
        )
        if limit is not None
    ]
    # The provider sends tokens alone (openai_realtime.md 4), so nobody is asked for the other.
    if use.tokens is None:
        cause = f"how many tokens a minute {model} may use is not known yet: no call has told it"
        short = "The model's limit of tokens a minute is not known"
        step = "Enter it from the provider's page, or talk to the assistant once"
        yield Found("model_limit_unknown", "unknown", "model", short, cause, step, "model_limits")
    if peak is None:
        cause = "last month's most calls at once is not known"
        short = "Last month's most calls at once is not known"
        step = "Let the credentials list calls, then check again"
        yield Found("model_peak_unknown", "unknown", "model", short, cause, step, "account")
        return
    for name, limit, each in known:
        yield from _against(name, limit, each, use, model)


def _against(
    name: str, limit: Limit, each: float | None, use: ModelUse, model: str
) -> Iterator[Found]:
    assert use.peak is not None
    calls = with_margin(use.peak.calls)
    if not calls:
        return
    if each is None:
        cause = f"what a call uses of {model} in a minute is measured on calls here, and there are "
        cause += f"too few of them ({use.measured_calls})"
        short = "What a call uses of the model's limit is not measured yet"
        step = "Talk to the assistant or call a test number for ten minutes in all, then check"
        yield Found("model_use_unknown", "unknown", "model", short, cause, step)
    elif needed(use.peak.calls, each) > limit.limit:
        wanted = needed(use.peak.calls, each)
        cause = f"{model} may use {limit.limit} {name} a minute; last month's most was "
        cause += f"{peak_words(use.peak)} calls at once, and with half as many again {wanted} "
        cause += f"are needed at {each:.0f} for each call"
        short = f"The model allows {limit.limit} {name} a minute; {wanted} are needed"
        step = "Have the provider raise the limit, or spread the numbers over connections"
        yield Found("model_too_small", "blocks", "model", short, cause, step, "model_limits")


def _health(facts: NumberFacts) -> Iterator[Found]:
    health = facts.health
    if health is None:
        cause = "the doctor's checks of the public address, the account and the model have not run"
        short, step = "The doctor has not looked yet", "Check again"
        yield Found("not_examined", "unknown", "health", short, cause, step, "doctor")
        return
    for check in health.checks:
        if check.state == "ok":
            continue
        is_bad = check.state == "failed"
        short = cut(f"{check.name}: {check.detail}")
        code = f"doctor_{'_'.join(check.name.lower().split()[:2])}"[:40]
        yield Found(
            code,
            "blocks" if is_bad else "look",
            "health",
            short,
            f"{check.name}: {check.detail}",
            check.fix or "See the doctor",
            "doctor",
        )
