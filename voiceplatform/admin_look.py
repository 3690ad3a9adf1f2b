"""What the admin looks like: titles, colours and the sidebar; data for unfold, no logic.

Every sidebar entry names the permission it needs, so nobody sees a link that answers 403.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse
from django.utils.functional import lazy

# A page reads each link of the sidebar four times, and no answer ever changes.
_link = lazy(functools.cache(reverse), str)


def _may_view(app_label: str, model: str) -> Callable[[HttpRequest], bool]:
    def check(request: HttpRequest) -> bool:
        return request.user.has_perm(f"{app_label}.view_{model}")

    return check


def _is_superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))


def _item(title: str, icon: str, app_label: str, model: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": _link(f"admin:{app_label}_{model}_changelist"),
        "permission": _may_view(app_label, model),
    }


def _is_below(prefix: str, *but: str) -> Callable[[HttpRequest], bool]:
    def check(request: HttpRequest) -> bool:
        path = request.path
        return path.startswith(prefix) and not path.removeprefix(prefix).startswith(but)

    return check


_MOVING = re.compile(
    r"/admin/calls/phonenumber/(moving/|restore-all/"
    r"|[0-9a-f-]{36}/(console|route|move|moves|restore|dossier)[/.])"
)


def _is_moving(request: HttpRequest) -> bool:
    """Tell whether a page is one of those on which numbers are moved."""
    return _MOVING.match(request.path) is not None


def _group(title: str, *items: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "separator": True, "collapsible": False, "items": list(items)}


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "voiceplatform",
    "SITE_HEADER": "voiceplatform",
    "SITE_SUBHEADER": "Phone agents you control",
    "SITE_SYMBOL": "graphic_eq",
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_HISTORY": True,
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("calls/icon.svg"),
        }
    ],
    "STYLES": [lambda request: static("calls/admin.css")],
    "DASHBOARD_CALLBACK": "calls.admin.dashboard.dashboard",
    "BORDER_RADIUS": "8px",
    "COLORS": {
        "primary": {
            "50": "oklch(97.7% .013 236.62)",
            "100": "oklch(95.1% .026 236.824)",
            "200": "oklch(90.1% .058 230.902)",
            "300": "oklch(82.8% .111 230.318)",
            "400": "oklch(74.6% .16 232.661)",
            "500": "oklch(62% .155 237.323)",
            "600": "oklch(54% .15 241.966)",
            "700": "oklch(48% .13 242.749)",
            "800": "oklch(42% .11 240.79)",
            "900": "oklch(37% .09 240.876)",
            "950": "oklch(29.3% .066 243.157)",
        },
    },
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "title": "Live",
                "items": [
                    {
                        "title": "Overview",
                        "icon": "space_dashboard",
                        "link": _link("admin:index"),
                    },
                    {
                        "title": "Live calls",
                        "icon": "phone_in_talk",
                        "link": _link("admin:calls_call_live"),
                        "permission": lambda request: request.user.has_perm("calls.watch_calls"),
                    },
                    _item("Calls", "call", "calls", "call")
                    | {"active": _is_below("/admin/calls/call/", "live/", "said/")},
                    {
                        "title": "Search what was said",
                        "icon": "manage_search",
                        "link": _link("admin:calls_call_said"),
                        "permission": lambda request: request.user.has_perms(
                            ("calls.view_call", "calls.view_transcript")
                        ),
                    },
                    _item("Commands", "settings_remote", "calls", "callcontrol"),
                    {
                        "title": "Doctor",
                        "icon": "stethoscope",
                        "link": _link("doctor"),
                        "permission": lambda request: request.user.is_superuser,
                    },
                ],
            },
            _group(
                "Numbers",
                {
                    "title": "Moving",
                    "icon": "swap_calls",
                    "link": _link("admin:calls_phonenumber_moving"),
                    "permission": _may_view("calls", "phonenumber"),
                    "active": _is_moving,
                },
                _item("Readiness", "traffic", "calls", "numberreadiness"),
                _item("Plans", "event_upcoming", "calls", "migrationplan"),
                _item("Incidents", "emergency_home", "calls", "incident"),
                _item("Nets", "health_and_safety", "calls", "numbernet"),
                _item("Phone numbers", "dialpad", "calls", "phonenumber")
                | {
                    "active": lambda request: (
                        request.path.startswith("/admin/calls/phonenumber/")
                        and not _is_moving(request)
                    )
                },
                _item("Operator destinations", "headset_mic", "calls", "operatordesk"),
                _item("Who is told", "notifications_active", "calls", "noticereceiver"),
                _item("Leave Vapi", "logout", "calls", "departure"),
            ),
            _group(
                "What was done",
                _item("Moves", "move_down", "calls", "numbermove"),
                _item("Changes of routes", "alt_route", "calls", "numberchange"),
                _item("Handed over", "phone_forwarded", "calls", "callhandover"),
                _item("What plans did", "history_edu", "calls", "planentry"),
                _item("Firings of nets", "crisis_alert", "calls", "netfiring"),
                _item("Accepted differences", "hearing", "calls", "audibleacceptance"),
                _item("Notices", "campaign", "calls", "notice"),
            ),
            _group(
                "Limits",
                _item("Guards", "shield", "calls", "numberguard"),
                _item("Guard limits", "tune", "calls", "guardlimits"),
                _item("Limits of accounts", "speed", "calls", "accountfacts"),
                _item("Limits of models", "data_usage", "calls", "modellimit"),
                _item("Old stacks", "dns", "calls", "oldstack"),
                _item("Rates of the old stack", "payments", "calls", "oldstackrate"),
            ),
            _group(
                "Parity",
                _item("Parity runs", "balance", "calls", "parityrun"),
                _item("Scenarios", "theater_comedy", "calls", "parityscenario")
                | {"active": _is_below("/admin/calls/parityscenario/")},
                _item("Critical arguments", "key_visualizer", "calls", "criticalmarks")
                | {"active": _is_below("/admin/calls/criticalmarks/")},
                _item("Calls of runs", "call_split", "calls", "paritycall"),
                _item("Hearing along", "hearing", "calls", "shadowswitch"),
                _item("Calls heard along", "call_log", "calls", "shadowcall"),
                _item("Calls that runs placed", "phone_forwarded", "calls", "rundial"),
                _item("Cost forecasts", "savings", "calls", "costforecast"),
                _item("Guardrails", "fork_right", "calls", "guardrailproposal"),
            ),
            _group(
                "Assistants",
                _item("Assistants", "support_agent", "assistants", "assistant"),
                _item("Squads", "groups", "assistants", "squad"),
                _item("Revisions", "history", "assistants", "assistantrevision"),
                _item("Voices", "record_voice_over", "assistants", "voicechoice"),
                _item("Imports", "upload_file", "assistants", "importrun")
                | {"active": _is_below("/admin/assistants/importrun/", "missing-secrets/")},
                {
                    "title": "Missing secrets",
                    "icon": "lock_open",
                    "link": _link("admin:assistants_importrun_secrets"),
                    "permission": _may_view("assistants", "assistant"),
                },
                _item("Imported versions", "rule", "assistants", "importedobject"),
                _item("Past calls", "history_toggle_off", "calls", "importedcall"),
                _item("Call logs", "input", "calls", "calllogimport"),
                _item("Talks", "mic", "calls", "talk"),
                _item("Stored resources", "inventory_2", "assistants", "storedresource"),
            ),
            _group(
                "Tools",
                _item("Tools", "build", "tools", "tool"),
                _item("Tool calls", "receipt_long", "calls", "toolinvocation"),
                _item("Tool servers", "fact_check", "calls", "toolcheck"),
                _item("Recording addresses", "switch_access_shortcut", "calls", "toolshim"),
                _item("Files", "description", "assistants", "filereading"),
            ),
            _group(
                "Delivery",
                _item("Where events go", "webhook", "calls", "eventdestination"),
                _item("Outbox", "outbox", "calls", "outboxevent"),
                _item("Delivery attempts", "send", "calls", "deliveryattempt"),
                _item("Twilio compared", "compare_arrows", "calls", "carriercheck"),
                _item("Recordings", "mic", "calls", "recording"),
                _item("Recordings to delete", "mic_off", "calls", "recordingremoval"),
                _item("Missed calls", "phone_missed", "calls", "missedcall"),
            ),
            _group(
                "Access",
                _item("Organisations", "apartment", "base", "organisation"),
                _item("Members", "badge", "base", "membership"),
                _item("API keys", "key", "base", "apikey"),
                _item("Routes we lack", "alt_route", "base", "unknownroute"),
                _item("Users", "person", "auth", "user"),
                _item("Groups", "group", "auth", "group") | {"permission": _is_superuser},
                _item("Audit", "policy", "base", "auditentry"),
                _item("Jobs", "hourglass_top", "base", "job"),
            ),
            _group(
                "Connections",
                _item("Model connections", "hub", "calls", "providerconnection"),
                _item("Twilio accounts", "cell_tower", "calls", "twilioaccount"),
                _item("Refused requests", "gpp_bad", "calls", "refusedrequest"),
            ),
            _group(
                "Policy",
                _item("Call policies", "gavel", "calls", "callpolicy"),
                _item("Wordings", "record_voice_over", "calls", "policywording"),
            ),
            _group(
                "Privacy",
                _item("Redaction", "visibility_off", "calls", "redactionrule"),
                _item("Retention", "auto_delete", "calls", "retentionrule"),
                _item("Erasures", "person_remove", "calls", "erasure"),
            ),
        ],
    },
}
