"""A complete organisation for admin tests: at least one row of every model that has an admin."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group
from django.utils import timezone

from assistants.models import Finding, ImportedObject, ImportRun, StoredResource
from calls.models import AssistantActivation, CallInputChunk, Erasure, RetentionRule
from tests import factories
from tools.models import DefaultServer, ServerCredential
from voiceplatform.base.models import (
    EncryptionCanary,
    Membership,
    Organisation,
    RedactedTable,
    UnknownRoute,
)

SPOKEN = "the-blue-parrot-sings"
ARGUMENT = "argument-of-the-parrot"
OUTPUT = "output-of-the-parrot"
UNHEARD = "unheard-parrot"
SAID = (SPOKEN, ARGUMENT, OUTPUT, UNHEARD)


def make_world(organisation: Organisation | None = None) -> dict[str, Any]:
    """Make one row of everything in ``organisation`` (a new one by default), by model label."""
    organisation = organisation or factories.make_organisation()
    member = factories.make_user()
    membership = Membership.objects.create(user=member, organisation=organisation)
    key, clear = factories.make_api_key(organisation)
    tool = factories.make_tool(organisation)
    credential = ServerCredential.objects.create(
        organisation=organisation, name="Desk", plan={"type": "bearer", "token": "hidden-token"}
    )
    assistant = factories.make_assistant(organisation, tools=[tool])
    policy = factories.make_policy(organisation, wordings={"en": "This call is recorded."})
    number = factories.make_number(organisation, assistant=assistant, policy=policy)
    wording = policy.wordings.get()
    call = factories.make_call(
        number=number,
        status="ended",
        policy_wording=wording,
        turns=[
            {"text": f"Hello {SPOKEN}", "text_unheard": UNHEARD, "interrupted": True},
            {"text": "Hi", "latency_ms": None},
            {"text": "Right", "latency_ms": 640},
        ],
        tool_invocations=[{"arguments_json": f'{{"a": "{ARGUMENT}"}}', "output": OUTPUT}],
        metrics={"frames_in": 100, "tokens": {"input": 5}, "ok": True, "note": SPOKEN},
        first_word_ms=450,
        turn_latency_p50_ms=640,
        turn_latency_p95_ms=900,
    )
    event = factories.make_event(call=call, payload={"transcript": SPOKEN})
    attempt = factories.make_attempt(event, response_excerpt=SPOKEN)
    exchange = factories.make_tool_exchange(call, request=SPOKEN, response=OUTPUT)
    call.tool_invocations.update(exchange=exchange, tool=tool)
    chunk = CallInputChunk.objects.create(call=call, ordinal=0, data=b"x")
    activation = AssistantActivation.objects.create(
        call=call,
        ordinal=0,
        revision=assistant.current_revision,
        assistant_name=assistant.name,
        started_ms=0,
        first_ordinal=0,
        variables={"said": SPOKEN},
    )
    canary, _ = EncryptionCanary.objects.get_or_create(id=1, defaults={"token": "canary"})
    redacted, _ = RedactedTable.objects.get_or_create(label="tools.tool", defaults={"version": 1})
    run = ImportRun.objects.create(organisation=organisation, source="command")
    finding = Finding.objects.create(
        run=run, object_number=0, path="name", state="mapped", message="Works."
    )
    imported = ImportedObject.objects.create(
        organisation=organisation,
        kind="tool",
        object_id=tool.pk,
        name=tool.name,
        document={"type": "function", "function": {"name": tool.name}},
        waits=True,
    )
    group, _ = Group.objects.get_or_create(name="Everybody")
    squad = factories.make_squad(organisation)
    kinds = [kind for kind in StoredResource.Kind.values if kind != "file"]
    resources = {f"resource.{kind}": factories.make_resource(organisation, kind) for kind in kinds}
    reading = factories.make_file(organisation)
    file = reading.file
    plan = factories.make_plan(organisation, numbers=[number])
    route = UnknownRoute.objects.create(
        organisation=organisation, method="GET", route="/campaign", count=1, last_at=timezone.now()
    )
    return {
        "base.organisation": organisation,
        "base.membership": membership,
        "base.apikey": key,
        "base.job": factories.make_job(organisation),
        "base.auditentry": factories.make_audit_entry(organisation),
        "base.encryptioncanary": canary,
        "base.redactedtable": redacted,
        "auth.user": member,
        "auth.group": group,
        "tools.tool": tool,
        "tools.servercredential": credential,
        "tools.defaultserver": DefaultServer.objects.create(
            organisation=organisation,
            url="https://tools.example.com/default",
            url_host="tools.example.com",
            credential=credential,
        ),
        "assistants.assistant": assistant,
        "assistants.assistantrevision": assistant.current_revision,
        "assistants.revisiontool": assistant.current_revision.revisiontool_set.get(),
        "assistants.squad": squad,
        "assistants.storedresource": file,
        "assistants.filereading": reading,
        "assistants.filepassage": reading.passages.get(),
        "resource.file": file,
        **resources,
        "base.unknownroute": route,
        "assistants.voicechoice": factories.make_voice_choice(organisation),
        "assistants.importrun": run,
        "assistants.finding": finding,
        "assistants.importedobject": imported,
        "calls.twilioaccount": number.twilio_account,
        "calls.providerconnection": number.connection,
        "calls.callpolicy": policy,
        "calls.policywording": wording,
        "calls.phonenumber": number,
        "calls.operatordesk": factories.make_desk(organisation),
        "calls.refusedrequest": factories.make_refusal(number.twilio_account),
        "calls.call": call,
        "calls.turn": call.turns.first(),
        "calls.toolinvocation": call.tool_invocations.get(),
        "calls.toolexchange": exchange,
        "calls.recording": factories.make_recording(call),
        "calls.recordingremoval": factories.make_removal(number.twilio_account),
        "calls.silenthost": factories.make_silent_host(organisation),
        "calls.toolcheck": factories.make_tool_check(tool),
        "calls.callinputchunk": chunk,
        "calls.assistantactivation": activation,
        "calls.callcontrol": factories.make_control(call, text=SPOKEN),
        "calls.outboxevent": event,
        "calls.deliveryattempt": attempt,
        "calls.incident": (incident := factories.make_incident(number, calls=(call,))),
        "calls.incidentcall": incident.listed.get(),
        "calls.numberguard": factories.make_guard(number),
        "calls.notice": factories.make_notice(incident),
        "calls.noticereceiver": factories.make_notice_receiver(organisation),
        "calls.guardlimits": factories.make_guard_limits(number),
        "calls.eventdestination": factories.make_destination(organisation),
        "calls.carriercheck": factories.make_carrier_check(number.twilio_account),
        "calls.missedcall": factories.make_missed_call(number),
        "calls.numbernet": factories.make_net(number),
        "calls.netfiring": factories.make_firing(number),
        "calls.renderedclip": factories.make_clip(assistant.current_revision),
        "calls.redactionrule": factories.make_redaction_rule(organisation),
        "calls.retentionrule": RetentionRule.objects.create(organisation=organisation),
        "calls.erasure": Erasure.objects.create(
            organisation=organisation, actor="system", counts={"calls.call": 2}
        ),
        "calls.departure": (departure := factories.make_departure(organisation)),
        "calls.departednumber": factories.make_departed_number(departure, number),
        "calls.costforecast": factories.make_forecast(assistant, number=number),
        "calls.guardrailproposal": factories.make_guardrail(factories.make_run(assistant)),
        "calls.oldstackrate": factories.make_old_rate(organisation),
        "calls.oldstack": (old_stack := factories.make_old_stack(organisation)),
        "calls.callhandover": factories.make_handover(call, old_stack=old_stack),
        "calls.numberchange": factories.make_change(number),
        "calls.numbermove": factories.make_move(number),
        "calls.numberreadiness": factories.make_readiness(number),
        "calls.audibleacceptance": factories.make_acceptance(assistant.current_revision),
        "calls.accountfacts": factories.make_account_facts(number.twilio_account),
        "calls.modellimit": factories.make_model_limit(number.connection),
        "calls.migrationplan": plan,
        "calls.plannumber": plan.places.get(),
        "calls.planentry": factories.make_plan_entry(plan),
        "calls.criticalmarks": factories.make_critical_marks(assistant),
        "calls.parityscenario": factories.make_scenario(assistant),
        "calls.parityrun": (parity_run := factories.make_run(assistant)),
        "calls.paritycall": factories.make_parity_call(
            parity_run, transcript=[{"role": "user", "text": SPOKEN}]
        ),
        "calls.shadowswitch": factories.make_shadow_switch(number),
        "calls.shadowcall": factories.make_shadow_call(parity_run, call),
        "calls.rundial": factories.make_run_dial(
            factories.make_parity_call(parity_run, position=1, index=1),
            number=number,
            call=call,
            heard=[[{"at_ms": 0, "kind": "said", "text": SPOKEN}]],
        ),
        "calls.callerclip": factories.make_caller_clip(parity_run),
        "calls.calllogimport": (log_import := factories.make_log_import(organisation=organisation)),
        "calls.calllogpiece": factories.make_log_piece(log_import),
        "calls.importedcall": factories.make_imported_call(call=call),
        "calls.toolshim": (shim := factories.make_shim(organisation=organisation)),
        "calls.shimrecord": factories.make_shim_record(shim),
        "calls.talk": factories.make_talk(revision=assistant.current_revision, user=member),
        "clear_key": clear,
    }
