"""The LLM planner: native tool calls where the server has them, schema-constrained JSON actions where it does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from agent.events import By
from agent.ledger import ledger, system
from agent.planner import Turn, View
from p2m.llm.client import ChatModel
from p2m.llm.failures import ToolsRefused
from tools.base import Tool

TURN_TOKENS = 400
WHY_LENGTH = 200


class LLMPlanner:
    """``native`` None: try native calls first on a remote server, JSON actions on a local model.

    A server that answers the first turn with no native call is asked in JSON from then on.
    """

    by: By = "planner"

    def __init__(self, model: ChatModel, *, seed: int = 0, native: bool | None = None) -> None:
        self.model, self.seed = model, seed
        self.name = model.name
        self._native = (not model.is_local) if native is None else native

    async def turn(self, view: View, on_text: Callable[[str], None]) -> Turn:
        if self._native:
            try:
                turn = await self._native_turn(view, on_text)
            except ToolsRefused:
                turn = Turn("", malformed=NO_CALL)
            if turn.calls or turn.malformed != NO_CALL:
                return turn
            self._native = False
        return await self._json_turn(view, on_text)

    async def _native_turn(self, view: View, on_text: Callable[[str], None]) -> Turn:
        head, page = system(view, native=True), ledger(view, open_menu=True)
        tools = [_declaration(t, view) for t in view.menu.values()]
        reply = await self.model.chat(
            [{"role": "system", "content": head.text}, {"role": "user", "content": page.text}],
            max_tokens=4 * TURN_TOKENS,
            seed=self._seed(view),
            tools=tools,
            prompt=head.hash + page.hash,
            on_text=on_text,
        )
        if not reply.tool_calls:
            action = _object_in(reply.text)
            if action is not None and "tool" in action:  # a fenced JSON call in the text: some servers do that
                return read_action(json.dumps(action), view, page.hash)
            return Turn(reply.text.strip(), malformed=NO_CALL, prompt=page.hash)
        calls, faults = [], []
        for call in reply.tool_calls:
            try:
                arguments = json.loads(call.arguments or "{}")
                if not isinstance(arguments, dict):
                    raise ValueError("not an object")
                calls.append((call.name, arguments))
            except ValueError as error:
                faults.append(f"bad_json: the arguments of {call.name} are no JSON object ({error})")
        why = reply.text.strip() or "(no words with the call)"
        return Turn(why, tuple(calls), "; ".join(faults) if faults and not calls else None, page.hash)

    async def _json_turn(self, view: View, on_text: Callable[[str], None]) -> Turn:
        head, page = system(view, native=False), ledger(view, open_menu=False)
        reply = await self.model.chat(
            [{"role": "system", "content": head.text}, {"role": "user", "content": page.text}],
            max_tokens=TURN_TOKENS,
            seed=self._seed(view),
            schema=action_schema(view),
            prompt=head.hash + page.hash,
            on_text=on_text,
        )
        return read_action(reply.text, view, page.hash)

    def _seed(self, view: View) -> int:
        return self.seed + len(view.state.turns)


NO_CALL = "it named no tool call"


def action_schema(view: View) -> dict[str, Any]:
    """One JSON action: any tool of the menu with arguments of its schema, narrowed to what exists now.

    The reason comes first: a small model that has to say why before it says what chooses better.
    """
    options = [_action(t, view) for t in view.menu.values()]
    return options[0] if len(options) == 1 else {"anyOf": options}


def _action(tool: Tool, view: View) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "why": {"type": "string", "minLength": 10, "maxLength": WHY_LENGTH},
            "tool": {"const": tool.name},
            "arguments": _for_grammar(tool, view),
        },
        "required": ["why", "tool", "arguments"],
        "additionalProperties": False,
    }


def _for_grammar(tool: Tool, view: View) -> dict[str, Any]:
    """The arguments' schema, with what only the task knows: its labels."""
    schema = tool.schema(view.state.workspace)
    for name, prop in schema["properties"].items():
        if name == "labels" and view.state.task.labels:
            schema["properties"][name] = {
                "type": "array",
                "items": {"enum": list(view.state.task.labels)},
                "minItems": 1,
                "maxItems": 3,
            }
        elif "anyOf" in prop:
            kinds = [p for p in prop["anyOf"] if p.get("type") != "null"]
            if len(kinds) == 1:
                schema["properties"][name] = kinds[0]
    return schema


def read_action(text: str, view: View, prompt: str) -> Turn:
    """A turn from a JSON action. What is no action is a malformed turn that says why."""
    action = _object_in(text)
    if action is None:
        return Turn(text.strip()[:500], malformed="bad_json: the answer is no JSON object", prompt=prompt)
    why = str(action.get("why", "")).strip()
    name, arguments = action.get("tool"), action.get("arguments", {})
    if not isinstance(name, str) or name not in view.menu:
        return Turn(why, malformed=f"{name!r} cannot be called now; choose of {', '.join(view.menu)}", prompt=prompt)
    if not isinstance(arguments, dict):
        return Turn(why, malformed="invalid_args: arguments must be an object", prompt=prompt)
    problems = view.menu[name].check(arguments, view.state.workspace)
    if problems:
        return Turn(why, malformed="invalid_args: " + "; ".join(problems), prompt=prompt)
    return Turn(why, ((name, arguments),), prompt=prompt)


def _object_in(text: str) -> dict[str, Any] | None:
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end <= start:
        return None
    try:
        value = json.loads(text[start : end + 1])
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _declaration(tool: Tool, view: View) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.schema(view.state.workspace),
        },
    }
