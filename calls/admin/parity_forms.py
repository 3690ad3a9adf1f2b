"""Forms of parity: a scenario as a person writes it, and what a run is to be.

Owns the fields and their words; what a scenario may be is ``calls.parity.scenario_reading``'s, what
a run may be ``calls.services.parity_runs``'.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from calls.models import ParityRun
from calls.parity.renames import RenameWrong, renames_read
from calls.parity.scenario import Scenario
from calls.services.live_checks import CALLER, live_problem
from calls.services.live_tools import (
    CONFIRMED,
    confirmation,
    tools_words,
)
from calls.services.parity_runs import MOST_PAIRS, MOST_PARALLEL, kinds_played
from calls.services.parity_scenarios import ScenarioRefused, scenario_of_yaml, yaml_of
from voiceplatform.base.fields import DecryptionError
from voiceplatform.base.phones import normalised
from voiceplatform.base.scoped_admin import ScopedForm

EXAMPLE = """\
name: books a cleaning
persona: in a hurry
caller:
  - say: "I would like to book a cleaning on Friday."
    expect:
      - tool: check_availability
        arguments: {date: "2026-11-27"}
    agent: "Ten or eleven o'clock, which time suits you?"
  - say: "Ten, please. Goodbye."
    after: {heard: "which time"}
    agent: "See you on Friday."
  - hang_up: true
tools:
  check_availability:
    - result: "10:00 and 11:00 are free"
"""


class ScenarioForm(ScopedForm):
    """A scenario as the text of its file; ``scenario`` is it, once the form is valid."""

    text = forms.CharField(
        label="Scenario",
        strip=False,
        max_length=100_000,
        widget=UnfoldAdminTextareaWidget(
            attrs={"rows": 26, "spellcheck": "false", "style": "font-family: monospace"}
        ),
        help_text="YAML. What the caller says on which cue, which tools are to be called then, and "
        "what they answer. Indent with spaces.",
    )
    seen_version = forms.IntegerField(widget=forms.HiddenInput, required=False)
    scenario: Scenario

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and not self.instance._state.adding:
            self.initial["seen_version"] = self.instance.version
            try:
                self.initial["text"] = yaml_of(self.instance.document)
            except DecryptionError as error:
                self.initial["text"] = f"# It cannot be read: {error}"
        else:
            self.initial.setdefault("text", EXAMPLE)

    def clean_text(self) -> str:
        """Read the scenario; every problem is told at once."""
        text: str = self.cleaned_data["text"]
        try:
            self.scenario = scenario_of_yaml(text)
        except ScenarioRefused as refused:
            raise forms.ValidationError([str(each) for each in refused.problems]) from refused
        return text

    def clean(self) -> dict[str, Any]:
        """Refuse a name that another scenario of the assistant has."""
        cleaned = super().clean()
        assistant = cleaned.get("assistant") or getattr(self.instance, "assistant", None)
        found = getattr(self, "scenario", None)
        if assistant is not None and found is not None:
            others = assistant.parity_scenarios.filter(name=found.name)
            if others.exclude(pk=self.instance.pk).exists():
                words = f"The assistant has a scenario {found.name!r}. Fix: choose another name."
                self.add_error("text", words)
        return cleaned


class RunForm(ScopedForm):
    """What a run is to be."""

    kind = forms.ChoiceField(
        label="Kind",
        widget=UnfoldAdminSelectWidget,
        help_text="A rehearsal costs nothing and reaches nobody. Past calls as text, or heard "
        "again, ask the model and are billed; so do live calls that are heard along, which are "
        "taken as they come. Live calls with a scripted caller ring the number and are billed by "
        "Twilio too. Only kinds that hear callers open a number's gate.",
    )
    caller = forms.CharField(
        label="Call from",
        required=False,
        max_length=30,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "tel"}),
        help_text="Of live calls only: another number of the same Twilio account, such as "
        "+15550100003.",
    )
    confirmed = forms.CharField(
        label="Confirm real tool calls",
        required=False,
        max_length=30,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "tel"}),
        help_text="Of live calls only: both stacks really call the assistant's tools, so bookings, "
        "messages and transfers are real. Type the number that is called, once you have seen to "
        "it. It is kept with your name.",
    )
    shown_tools = forms.CharField(widget=forms.HiddenInput, required=False, max_length=64)
    pairs = forms.IntegerField(
        label="Pairs of calls",
        initial=50,
        min_value=1,
        max_value=MOST_PAIRS,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}),
        help_text="Fewer than 76 can fail and never pass: that many without a difference it takes, "
        "and 387 critical fields where fields are marked. Of past calls there may be fewer here.",
    )
    parallel = forms.IntegerField(
        label="Calls at once",
        initial=20,
        min_value=1,
        max_value=MOST_PARALLEL,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}),
        help_text="Live calls: 5 at most.",
    )
    seed = forms.IntegerField(
        label="Seed",
        required=False,
        min_value=0,
        max_value=(1 << 63) - 1,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}),
        help_text="Decides the order. The same seed gives the same rehearsal. Empty: drawn.",
    )
    cost_limit_usd = forms.DecimalField(
        label="Cost limit in USD",
        initial=Decimal(5),
        min_value=0,
        max_value=1_000,
        decimal_places=2,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}),
        help_text="No call begins beyond it. Rehearsals cost nothing.",
    )
    stops_early = forms.BooleanField(
        label="Stop as soon as it is decided", required=False, widget=UnfoldBooleanSwitchWidget
    )
    again = forms.BooleanField(
        label="Play the old stack twice",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Shows how much the old stack differs from itself, and costs half as much again.",
    )

    renames = forms.CharField(
        label="Tools that mean the same",
        required=False,
        max_length=20_000,
        widget=UnfoldAdminTextareaWidget(
            attrs={"rows": 3, "spellcheck": "false", "placeholder": "book slot = book_slot"}
        ),
        help_text="One a line: the name on either stack, =, and the one name that stands for it. "
        "“vapi_* =” takes a beginning away. Nothing is guessed: without a line two names are two "
        "tools.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        played = kinds_played()
        kinds: Any = self.fields["kind"]
        kinds.choices = [each for each in ParityRun.Kind.choices if each[0] in played]

    def clean_renames(self) -> dict[str, str]:
        """Read the rules; a line that is none is named."""
        try:
            return renames_read(self.cleaned_data["renames"].splitlines())
        except RenameWrong as wrong:
            raise forms.ValidationError(f"The line {wrong}") from wrong

    def clean(self) -> dict[str, Any]:
        """Compare the number with the assistant that is to answer it."""
        cleaned = super().clean()
        assistant, number = cleaned.get("assistant"), cleaned.get("number")
        if assistant is not None and assistant.current_revision is None:
            self.add_error("assistant", "It has no revision. Fix: publish one.")
        if assistant is not None and number is not None:
            if number.organisation_id != assistant.organisation_id:
                self.add_error("number", "This number is another organisation's.")
            elif number.assistant_id != assistant.pk:
                words = "Another assistant answers this number. Fix: choose that one, or no number."
                self.add_error("number", words)
        if cleaned.get("kind") == ParityRun.Kind.LIVE and not self.errors:
            self._clean_live(assistant, number)
        return cleaned

    def _clean_live(self, assistant: Any, number: Any) -> None:
        cleaned = self.cleaned_data
        if number is None:
            self.add_error("number", "A live run calls a number. Fix: choose one.")
            return
        caller = cleaned["caller"] = normalised((cleaned.get("caller") or "").strip())
        try:
            asked = confirmation(assistant.current_revision, number, "the form")
        except DecryptionError:
            self.add_error("assistant", "No key opens its tools. Fix: put the lost key back.")
            return
        tools = tools_words(asked[CONFIRMED]["tools"], asked[CONFIRMED]["old_tools"])
        typed = normalised((cleaned.get("confirmed") or "").strip())
        # Nobody confirms what was not shown: a list that is new, or has changed, comes first.
        shown = hashlib.sha256(tools.encode()).hexdigest()
        if tools and (typed != number.number_e164 or cleaned.get("shown_tools") != shown):
            data: Any = self.data
            self.data = data = data.copy()
            data[self.add_prefix("shown_tools")] = shown
            self.add_error(
                "confirmed",
                f"Both stacks really call their tools. {tools} Fix: see that they may be called, "
                "then type the number that is called.",
            )
            return
        problem = live_problem(
            assistant=assistant,
            revision=assistant.current_revision,
            number=number,
            model=cleaned.get("model") or "",
            options={CALLER: caller, **asked},
        )
        if problem:
            self.add_error(None, f"{problem[:1].upper()}{problem[1:]}")
