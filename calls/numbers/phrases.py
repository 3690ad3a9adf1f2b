"""Words that a caller may say and sentences that Twilio says, per language, as shipped.

Owns the defaults alone; what an operator enters wins and is a row. The lists are examples for the
operator's counsel, like the wordings of a policy. Pure but for reading its own data files once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final, Literal

Words = Literal["emergency", "refusal", "agree", "disagree"]
Sentence = Literal[
    "announcement",
    "no_answer",
    "closed",
    "refused",
    "emergency",
    "unreachable",
    "filler",
    "apology",
    "consent",
    "consent_keys",
]

_FALLBACK: Final = "en"
_FOLDER: Final = Path(__file__).parent

_SENTENCES: Final[Mapping[str, Mapping[Sentence, str]]] = {
    "en": {
        "announcement": "One moment please. You are being connected to a person.",
        "no_answer": "We are sorry, nobody can take your call at the moment. "
        "Please call again later. Goodbye.",
        "closed": "We are sorry, nobody is here at this time. Please call again later. Goodbye.",
        "refused": "As you wish. This call ends here. Goodbye.",
        "emergency": "If this is an emergency, please hang up and dial your local emergency "
        "number now.",
        "unreachable": "We are sorry. We have lost the connection. Please call again. Goodbye.",
        "filler": "One moment, please.",
        "apology": "I am sorry, something is not working on our side.",
        "consent": "Do you agree? Press 1 or say yes. If not, press 2 or say no.",
        "consent_keys": "Do you agree? Press 1. If not, press 2.",
    },
    "es": {
        "announcement": "Un momento, por favor. Le comunicamos con una persona.",
        "no_answer": "Lo sentimos, nadie puede atender su llamada en este momento. "
        "Vuelva a llamar más tarde. Adiós.",
        "closed": "Lo sentimos, a esta hora no hay nadie. Vuelva a llamar más tarde. Adiós.",
        "refused": "Como usted desee. Esta llamada termina aquí. Adiós.",
        "emergency": "Si se trata de una emergencia, cuelgue y marque ahora su número de "
        "emergencias.",
        "unreachable": "Lo sentimos. Se ha perdido la conexión. Vuelva a llamar. Adiós.",
        "filler": "Un momento, por favor.",
        "apology": "Lo siento, tenemos un problema técnico.",
        "consent": "¿Está de acuerdo? Pulse 1 o diga sí. Si no, pulse 2 o diga no.",
        "consent_keys": "¿Está de acuerdo? Pulse 1. Si no, pulse 2.",
    },
    "fr": {
        "announcement": "Un instant, s'il vous plaît. Nous vous mettons en relation avec une "
        "personne.",
        "no_answer": "Nous sommes désolés, personne ne peut prendre votre appel pour le moment. "
        "Veuillez rappeler plus tard. Au revoir.",
        "closed": "Nous sommes désolés, il n'y a personne à cette heure. Veuillez rappeler plus "
        "tard. Au revoir.",
        "refused": "Comme vous le souhaitez. Cet appel se termine ici. Au revoir.",
        "emergency": "S'il s'agit d'une urgence, raccrochez et composez maintenant le numéro "
        "d'urgence.",
        "unreachable": "Nous sommes désolés. La connexion a été perdue. Veuillez rappeler. "
        "Au revoir.",
        "filler": "Un instant, s'il vous plaît.",
        "apology": "Nous sommes désolés, nous avons un problème technique.",
        "consent": "Êtes-vous d'accord ? Tapez 1 ou dites oui. Sinon, tapez 2 ou dites non.",
        "consent_keys": "Êtes-vous d'accord ? Tapez 1. Sinon, tapez 2.",
    },
    "de": {
        "announcement": "Einen Moment bitte. Sie werden mit einem Menschen verbunden.",
        "no_answer": "Es tut uns leid, im Moment kann niemand Ihren Anruf annehmen. "
        "Bitte rufen Sie später wieder an. Auf Wiederhören.",
        "closed": "Es tut uns leid, um diese Zeit ist niemand da. Bitte rufen Sie später wieder "
        "an. Auf Wiederhören.",
        "refused": "Wie Sie wünschen. Dieses Gespräch endet hier. Auf Wiederhören.",
        "emergency": "Wenn dies ein Notfall ist, legen Sie bitte auf und wählen Sie jetzt den "
        "Notruf.",
        "unreachable": "Es tut uns leid. Die Verbindung ist abgebrochen. Bitte rufen Sie noch "
        "einmal an. Auf Wiederhören.",
        "filler": "Einen Moment, bitte.",
        "apology": "Es tut mir leid, bei uns gibt es eine technische Störung.",
        "consent": "Sind Sie einverstanden? Drücken Sie 1 oder sagen Sie Ja. Wenn nicht, drücken "
        "Sie 2 oder sagen Sie Nein.",
        "consent_keys": "Sind Sie einverstanden? Drücken Sie 1. Wenn nicht, drücken Sie 2.",
    },
}


def _primary(language: str) -> str:
    return language.replace("_", "-").partition("-")[0].lower()


def sentence(kind: Sentence, language: str) -> tuple[str, str]:
    """Return a sentence and the language it is in: ``language``, else English."""
    primary = _primary(language)
    spoken = primary if primary in _SENTENCES else _FALLBACK
    return _SENTENCES[spoken][kind], spoken


@cache
def _lists(kind: Words) -> Mapping[str, Sequence[str]]:
    lists: Mapping[str, Sequence[str]] = json.loads(
        (_FOLDER / f"{kind}_words.json").read_text(encoding="utf-8")
    )
    return lists


def words(kind: Words, language: str) -> tuple[str, ...]:
    """Return the phrases of a language and the English ones: callers say what comes to mind."""
    lists = _lists(kind)
    own = lists.get(_primary(language), ())
    return tuple(dict.fromkeys((*own, *lists[_FALLBACK])))
