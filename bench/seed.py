"""``python -m bench.seed MODEL_PORT TOOLS_PORT``: the rows that the bench calls need.

Runs with an instance's environment beside it. One number with every feature that costs something
per frame or per call: policy line, greeting, replay record, transcript, a tool.
"""

from __future__ import annotations

import os
import sys
from typing import Any

TOOL_NAME = "look_up"  # loadgen asks for it by this name
# loadgen knows by the caller's number which call a session of the model belongs to.
PROMPT = "You answer the phone. Be brief. The caller's number is {{customer.number}}."


def document(tools_url: str) -> dict[str, Any]:
    """Return the assistant of the bench as Vapi would export it."""
    return {
        "name": "Bench receptionist",
        "firstMessage": "Good morning, Harbour Dental. How can I help?",
        "firstMessageMode": "assistant-speaks-first",
        "model": {
            "provider": "openai",
            "model": "gpt-4o",
            "messages": [{"role": "system", "content": PROMPT}],
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": TOOL_NAME,
                        "description": "Look up the free times of a day.",
                        "parameters": {
                            "type": "object",
                            "properties": {"day": {"type": "string"}},
                            "required": ["day"],
                        },
                    },
                    "server": {"url": tools_url},
                    # Silent (vapi.md 3.3): what is measured is the way of the call alone.
                    "messages": [{"type": "request-start", "content": ""}],
                }
            ],
        },
        "voice": {"provider": "openai", "voiceId": "marin"},
        "transcriber": {"provider": "deepgram", "model": "nova-3", "language": "en"},
    }


def main(model_port: int, tools_port: int) -> int:
    """Seed and print the number; return the exit code."""
    import django

    django.setup()
    from assistants.services import assistant_publish
    from calls.models import PhoneNumber, PolicyWording, ProviderConnection
    from calls.services.seed import STANDIN_NUMBER
    from calls.services.wording import wordings_render_missing

    number = PhoneNumber.objects.get(number_e164=STANDIN_NUMBER)
    assert number.organisation is not None, "the seeded number has an organisation"
    assert number.connection is not None, "the seeded number has a connection"
    wordings_render_missing()
    if PolicyWording.objects.filter(policy=number.policy, audio_mulaw__isnull=True).exists():
        sys.stderr.write("the policy line was not rendered; without it the first word is another\n")
        return 1
    number.assistant = assistant_publish(
        organisation=number.organisation,
        document=document(f"http://127.0.0.1:{tools_port}/tools"),
        source="seed",
        actor=None,
    )
    number.save(update_fields=["assistant"])
    # After the policy line was rendered by the stand-in: from now on the model is the harness.
    ProviderConnection.objects.filter(pk=number.connection.pk).update(
        realtime_url=f"ws://127.0.0.1:{model_port}/v1/realtime"
    )
    sys.stdout.write(f"{number.number_e164}\n")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceplatform.settings")
    sys.exit(main(*(int(argument) for argument in sys.argv[1:3])))
